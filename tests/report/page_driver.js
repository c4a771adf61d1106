// Run behind the page's own script: moves things as a person would, and tells what it saw.
const said = [];
addEventListener("error", (event) => said.push(event.message));
const frame = document.getElementById("frame"), stage = document.getElementById("stage");
const over = document.getElementById("over");
const box = () => frame.getBoundingClientRect();

const before = over.style.clipPath;
frame.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowLeft" }));
const moved = over.style.clipPath !== before;

const still = stage.style.transform;
const here = { clientX: box().left + 9, clientY: box().top + 9 };
frame.dispatchEvent(new WheelEvent("wheel", { deltaY: -200, ...here }));
const zoomed = stage.style.transform !== still;

document.querySelectorAll("#rows tbody tr")[2].click();
const chosen = document.querySelector("#marks .chosen");
const middle = (at) => [at.left + at.width / 2, at.top + at.height / 2];
const [x, y] = middle(chosen.getBoundingClientRect()), [cx, cy] = middle(box());

const gain = document.getElementById("gain");
gain.value = 2;
gain.dispatchEvent(new Event("input"));
document.querySelector("#kinds input").click();

const images = [...document.images].filter((image) => image.id);
document.title = JSON.stringify({
  said,
  moved,
  zoomed,
  ready: document.body.dataset.ready,
  kind: chosen.getAttribute("class"),
  middle: [x - cx, y - cy],
  filter: over.style.filter,
  hidden: document.querySelector("#marks .matched").style.display,
  tables: [...document.querySelectorAll("#tables h2")].map((title) => title.textContent),
  marks: document.querySelectorAll("#marks > *").length,
  wide: document.body.scrollWidth,
  loaded: images.every((image) => image.complete && image.naturalWidth > 0),
});
