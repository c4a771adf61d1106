"""A hub on the loopback: as much of its HTTP as huggingface_hub speaks to fetch and to push."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Hub:
    """Repositories in memory; ``asked`` lists what was fetched of which file."""

    def __init__(self):
        self.repos: dict[str, dict[str, dict[str, bytes]]] = {}  # repo → commit → files
        self.heads: dict[str, dict[str, str]] = {}  # repo → branch → commit
        self.asked: list[tuple[str, str]] = []
        self.objects: dict[str, bytes] = {}  # of LFS
        self.private: set[str] = set()
        self.may_write = True
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_GET(self):
                hub.get(self)

            def do_HEAD(self):
                hub.get(self)

            def do_POST(self):
                hub.post(self)

            def do_PUT(self):
                length = int(self.headers["Content-Length"])
                hub.objects[self.path.rpartition("/")[2]] = self.rfile.read(length)
                hub.answer(self, 200, {})

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def add(self, repo, files, branch="main"):
        commit = hashlib.sha1(json.dumps(sorted(files)).encode() + b"".join(files.values()))
        commits = self.repos.setdefault(repo, {})
        before = commits.get(self.heads.get(repo, {}).get(branch, ""), {})
        commits[commit.hexdigest()] = {**before, **files}
        self.heads.setdefault(repo, {})[branch] = commit.hexdigest()
        return commit.hexdigest()

    # ------------------------------------------------------------------------------- answers

    def answer(self, http, status, content, headers=()):
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        http.send_response(status)
        for key, value in headers:
            http.send_header(key, value)
        http.send_header("Content-Length", str(len(body)))
        http.end_headers()
        if http.command != "HEAD":
            http.wfile.write(body)

    def refuse(self, http, code, status=404):
        self.answer(http, status, {"error": code}, [("X-Error-Code", code)])

    def get(self, http):
        path = http.path.partition("?")[0].strip("/").split("/")
        of_api = path[:2] == ["api", "models"]
        repo = "/".join(path[2:4] if of_api else path[:2])
        if repo in self.private:
            return self.refuse(http, "RepoNotFound", 401)
        if repo not in self.repos:
            return self.refuse(http, "RepoNotFound")
        rest = path[4:] if of_api else path[2:]
        named = rest[1] if len(rest) > 1 else "main"
        commit = self.heads[repo].get(named, named)
        if commit not in self.repos[repo]:
            return self.refuse(http, "RevisionNotFound")
        files = self.repos[repo][commit]
        if of_api and rest[:1] == ["tree"]:
            return self.answer(http, 200, [
                {"type": "file", "path": name, "size": len(content),
                 "oid": hashlib.sha1(content).hexdigest()} for name, content in files.items()
            ])  # fmt: skip
        if of_api:
            siblings = [{"rfilename": name} for name in files]
            return self.answer(http, 200, {"id": repo, "sha": commit, "siblings": siblings})
        name = "/".join(rest[2:])
        if name not in files:
            return self.refuse(http, "EntryNotFound")
        if http.command == "GET":
            self.asked.append((repo, name))
        tag = hashlib.sha1(files[name]).hexdigest()
        headers = [("ETag", f'"{tag}"'), ("X-Repo-Commit", commit)]
        return self.answer(http, 200, files[name], headers)

    def post(self, http):
        length = int(http.headers.get("Content-Length") or 0)
        body = http.rfile.read(length)
        if not length and http.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(http.rfile.readline(), 16):
                body += http.rfile.read(size)
                http.rfile.readline()
            http.rfile.readline()
        path = http.path.partition("?")[0].strip("/")
        if not self.may_write and path != "api/validate-yaml":
            return self.answer(http, 403, {"error": "no right to write"})
        if path == "api/repos/create":
            wish = json.loads(body)
            repo = f"{wish['organization']}/{wish['name']}"
            self.repos.setdefault(repo, {})
            self.heads.setdefault(repo, {})
            return self.answer(http, 200, {"url": f"{self.url}/{repo}"})
        if path.endswith("lfs/objects/batch"):
            objects = [
                {**one, "actions": {"upload": {"href": f"{self.url}/lfs/{one['oid']}"}}}
                for one in json.loads(body)["objects"]
            ]
            return self.answer(http, 200, {"transfer": "basic", "objects": objects})
        if "/preupload/" in path:
            modes = [
                {"path": one["path"], "shouldIgnore": False,
                 "uploadMode": "lfs" if one["path"].endswith(".safetensors") else "regular"}
                for one in json.loads(body)["files"]
            ]  # fmt: skip
            return self.answer(http, 200, {"files": modes})
        if "/commit/" in path:
            repo, branch = path.removeprefix("api/models/").split("/commit/")
            files = {}
            for line in map(json.loads, body.splitlines()):
                value = line["value"]
                if line["key"] == "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                elif line["key"] == "lfsFile":
                    files[value["path"]] = self.objects[value["oid"]]
            commit = self.add(repo, files, branch)
            return self.answer(http, 200, {
                "commitUrl": f"{self.url}/{repo}/commit/{commit}", "commitOid": commit,
                "hookOutput": "",
            })  # fmt: skip
        return self.answer(http, 200, {"errors": [], "warnings": []})
