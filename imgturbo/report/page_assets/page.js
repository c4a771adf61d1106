"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const $ = (id) => document.getElementById(id);
  const text = (tag, content, name) => {
    const made = document.createElement(tag);
    made.textContent = content;
    if (name) made.className = name;
    return made;
  };
  const frame = $("frame"), stage = $("stage"), under = $("under"), over = $("over"), marks = $("marks");
  const { width, height } = data.size;
  frame.style.aspectRatio = `${width} / ${height}`;
  let scale = 1, x = 0, y = 0, split = 0.5;

  // ------------------------------------------------------------------ images
  const titles = Object.keys(data.images);
  const show = (image, select, label) => {
    const title = select.value;
    image.src = data.images[title];
    image.alt = title;
    $(label).textContent = title;
  };
  for (const id of ["left", "right"]) {
    for (const title of titles) $(id).append(new Option(title));
  }
  $("left").value = titles.includes("source") ? "source" : titles[0];
  $("right").value = "prediction";
  $("left").onchange = () => show(over, $("left"), "name-left");
  $("right").onchange = () => show(under, $("right"), "name-right");
  for (const image of [under, over]) { image.width = width; image.height = height; }
  marks.setAttribute("width", width);
  marks.setAttribute("height", height);
  const look = () => {
    const filter = `brightness(${$("gain").value}) contrast(${$("contrast").value})`;
    under.style.filter = over.style.filter = filter;
  };
  $("gain").oninput = $("contrast").oninput = look;

  const place = () => {
    stage.style.transform = `translate(${x}px, ${y}px) scale(${scale})`;
    stage.style.setProperty("--scale", scale);
    const end = (split * frame.clientWidth - x) / scale;
    over.style.clipPath = `polygon(0 0, ${end}px 0, ${end}px ${height}px, 0 ${height}px)`;
    $("bar").style.left = `${100 * split}%`;
    $("bar").setAttribute("aria-valuenow", Math.round(100 * split));
  };
  const whole = () => {
    scale = Math.min(frame.clientWidth / width, frame.clientHeight / height);
    x = (frame.clientWidth - scale * width) / 2;
    y = (frame.clientHeight - scale * height) / 2;
    place();
  };
  const zoom = (factor, px, py) => {
    const next = Math.min(40, Math.max(0.05, scale * factor));
    x = px - (px - x) * next / scale;
    y = py - (py - y) * next / scale;
    scale = next;
    place();
  };
  const goTo = (column, row) => {
    scale = Math.max(scale, Math.min(frame.clientWidth, frame.clientHeight) / 64);
    x = frame.clientWidth / 2 - scale * column;
    y = frame.clientHeight / 2 - scale * row;
    place();
  };
  $("whole").onclick = whole;
  addEventListener("resize", whole);
  frame.addEventListener("wheel", (event) => {
    event.preventDefault();
    const box = frame.getBoundingClientRect();
    zoom(Math.exp(-event.deltaY / 400), event.clientX - box.left, event.clientY - box.top);
  }, { passive: false });
  const held = new Map();
  frame.addEventListener("pointerdown", (event) => {
    if (event.target === $("bar")) return;
    held.set(event.pointerId, event);
    frame.setPointerCapture(event.pointerId);
  });
  frame.addEventListener("pointermove", (event) => {
    const last = held.get(event.pointerId);
    if (!last) return;
    const others = [...held.values()].filter((one) => one.pointerId !== event.pointerId);
    if (others.length) { // two fingers
      const apart = (a) => Math.hypot(a.clientX - others[0].clientX, a.clientY - others[0].clientY);
      const box = frame.getBoundingClientRect();
      zoom(apart(event) / Math.max(apart(last), 1), others[0].clientX - box.left, others[0].clientY - box.top);
    } else {
      x += event.clientX - last.clientX;
      y += event.clientY - last.clientY;
      place();
    }
    held.set(event.pointerId, event);
  });
  for (const end of ["pointerup", "pointercancel"]) {
    frame.addEventListener(end, (event) => held.delete(event.pointerId));
  }
  const bar = $("bar");
  const slide = (clientX) => {
    const box = frame.getBoundingClientRect();
    split = Math.min(1, Math.max(0, (clientX - box.left) / box.width));
    place();
  };
  bar.addEventListener("pointerdown", (event) => bar.setPointerCapture(event.pointerId));
  bar.addEventListener("pointermove", (event) => {
    if (bar.hasPointerCapture(event.pointerId)) slide(event.clientX);
  });
  frame.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -0.02, ArrowRight: 0.02 }[event.key];
    if (step) { split = Math.min(1, Math.max(0, split + step)); place(); }
    if (event.key === "+" || event.key === "-") {
      zoom(event.key === "+" ? 1.25 : 0.8, frame.clientWidth / 2, frame.clientHeight / 2);
    }
  });

  // ----------------------------------------------------------------- sources
  const ns = "http://www.w3.org/2000/svg";
  const shape = {
    circle: (s) => { const c = document.createElementNS(ns, "circle"); c.setAttribute("cx", s.x); c.setAttribute("cy", s.y); c.setAttribute("r", data.radius); return c; },
    square: (s) => { const c = document.createElementNS(ns, "rect"), r = data.radius; c.setAttribute("x", s.x - r); c.setAttribute("y", s.y - r); c.setAttribute("width", 2 * r); c.setAttribute("height", 2 * r); return c; },
    diamond: (s) => { const c = document.createElementNS(ns, "polygon"), r = 1.3 * data.radius; c.setAttribute("points", `${s.x},${s.y - r} ${s.x + r},${s.y} ${s.x},${s.y + r} ${s.x - r},${s.y}`); return c; },
  };
  const shapes = { matched: "circle", found: "circle", missed: "square", invented: "diamond" };
  const symbol = { circle: "\u25cb", square: "\u25a1", diamond: "\u25c7" };
  const drawn = data.sources.map((source) => {
    const mark = shape[shapes[source.kind]](source);
    mark.setAttribute("class", source.kind);
    marks.append(mark);
    return mark;
  });
  for (const kind of [...new Set(data.sources.map((source) => source.kind))]) {
    const label = document.createElement("label"), box = document.createElement("input");
    box.type = "checkbox";
    box.checked = true;
    box.onchange = () => drawn.forEach((mark, k) => {
      if (data.sources[k].kind === kind) mark.style.display = box.checked ? "" : "none";
    });
    const many = data.sources.filter((source) => source.kind === kind).length;
    label.append(box, text("span", symbol[shapes[kind]], kind), `${kind} (${many})`);
    label.style.display = "inline-flex";
    label.style.marginRight = "0.8rem";
    $("kinds").append(label);
  }
  const table = (columns, rows, click) => {
    const made = document.createElement("table"), head = document.createElement("thead");
    const line = document.createElement("tr"), body = document.createElement("tbody");
    columns.forEach((column) => line.append(text("th", column)));
    head.append(line);
    rows.forEach((row, k) => {
      const tr = document.createElement("tr");
      row.forEach((cell) => tr.append(text("td", cell)));
      if (click) {
        tr.tabIndex = 0;
        tr.onclick = () => click(k);
        tr.onkeydown = (event) => { if (event.key === "Enter") click(k); };
      }
      body.append(tr);
    });
    made.append(head, body);
    return made;
  };
  let chosen = null;
  $("rows").append(table(data.columns, data.sources.map((source) => source.cells), (k) => {
    if (chosen !== null) drawn[chosen].classList.remove("chosen");
    chosen = k;
    drawn[k].classList.add("chosen");
    goTo(data.sources[k].x, data.sources[k].y);
    frame.scrollIntoView({ block: "nearest" });
  }));
  if (!data.sources.length) $("catalogue").hidden = true;

  // -------------------------------------------------------------------- rest
  $("about").textContent = data.about;
  $("short").append(table(data.short.columns, data.short.rows));
  for (const figure of data.figures) {
    const made = document.createElement("figure"), image = document.createElement("img");
    image.src = figure.png;
    image.alt = figure.title;
    image.loading = "lazy";
    const scrolled = text("div", "", "wide");
    scrolled.append(image);
    made.append(text("h2", figure.title), scrolled, text("figcaption", figure.caption));
    $("figures").append(made);
  }
  for (const one of data.tables) {
    const wide = text("div", "", "wide");
    wide.append(table(one.columns, one.rows));
    $("tables").append(text("h2", one.title), text("p", one.caption), wide);
  }
  data.notes.forEach((note) => $("said").append(text("li", note)));
  if (!data.notes.length) $("notes").hidden = true;
  show(over, $("left"), "name-left");
  show(under, $("right"), "name-right");
  look();
  whole();
  document.body.dataset.ready = "yes";
})();
