"use strict";
// The list is asked for every two seconds and replaced where it has changed; focus and opened notes stay.
const rows = document.getElementById("rows");
const words = document.getElementById("words");
const said = document.getElementById("upload");
let tag = "";
let asking = null;

async function refresh() {
  clearTimeout(asking);
  try {
    const headers = tag ? { "If-None-Match": tag } : {};
    const answer = await fetch("/rows?q=" + encodeURIComponent(words.value), { headers, cache: "no-store" });
    if (answer.status === 200) {
      tag = answer.headers.get("ETag") || "";
      replace(await answer.text());
    } else if (answer.status !== 304) {
      unreachable("The node answered " + answer.status + ".");
    }
  } catch {
    unreachable("The node cannot be reached; this list may be old.");
  }
  asking = setTimeout(refresh, document.hidden ? 10000 : 2000);
}

function replace(html) {
  const focused = document.activeElement?.closest?.("[data-series]")?.dataset.series;
  const inside = document.activeElement?.matches?.("a, button, summary") ? document.activeElement.tagName : "";
  const open = new Set([...rows.querySelectorAll("details[open]")].map((one) => one.dataset.key));
  rows.innerHTML = html;
  for (const one of rows.querySelectorAll("details")) one.open = open.has(one.dataset.key);
  if (!focused) return;
  const line = rows.querySelector(`[data-series="${CSS.escape(focused)}"]`);
  (inside && line?.querySelector(inside) || line)?.focus({ preventScroll: true });
}

function unreachable(text) {
  tag = "";
  let line = rows.querySelector(".problem");
  if (!line) {
    line = document.createElement("p");
    line.className = "problem";
    line.setAttribute("role", "alert");
    rows.prepend(line);
  }
  line.textContent = text;
}

words.addEventListener("input", () => {
  tag = "";
  history.replaceState(null, "", words.value ? "/?q=" + encodeURIComponent(words.value) : "/");
  clearTimeout(asking);
  asking = setTimeout(refresh, 150);
});
words.form.addEventListener("submit", (event) => { event.preventDefault(); refresh(); });

rows.addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = event.target.querySelector("button");
  button.disabled = true;
  try {
    const answer = await fetch(event.target.action, { method: "POST", headers: { Accept: "application/json" } });
    if (!answer.ok) unreachable((await answer.text()).trim());
  } catch {
    unreachable("The node cannot be reached.");
  }
  tag = "";
  refresh();
});

document.addEventListener("keydown", (event) => {
  if (event.key === "/" && document.activeElement !== words) {
    event.preventDefault();
    words.focus();
    return;
  }
  if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
  const lines = [...rows.querySelectorAll("[data-series]")];
  const at = lines.indexOf(document.activeElement?.closest?.("[data-series]"));
  if (at < 0 && document.activeElement !== words && document.activeElement !== document.body) return;
  const next = lines[at + (event.key === "ArrowDown" ? 1 : -1)];
  if (next) {
    event.preventDefault();
    next.focus();
  }
});

const drop = document.getElementById("drop");
const file = document.getElementById("file");
for (const kind of ["dragenter", "dragover"]) {
  document.addEventListener(kind, (event) => { event.preventDefault(); drop.classList.add("over"); });
}
document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) drop.classList.remove("over"); });
document.addEventListener("drop", (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  if (event.dataTransfer.files.length) send(event.dataTransfer.files[0]);
});
file.addEventListener("change", () => { if (file.files.length) send(file.files[0]); });

function send(chosen) {
  const request = new XMLHttpRequest();  // fetch does not tell how much has been sent
  const bar = document.createElement("progress");
  said.className = "";
  said.replaceChildren("Sending " + chosen.name + " ", bar);
  request.upload.addEventListener("progress", (event) => {
    if (event.lengthComputable) { bar.max = event.total; bar.value = event.loaded; }
  });
  request.addEventListener("load", () => {
    const good = request.status === 202;
    said.className = good ? "" : "wrong";
    if (good) {
      const taken = JSON.parse(request.responseText);
      const out = taken.left_out ? ", " + taken.left_out + " left out" : "";
      said.textContent = chosen.name + ": " + taken.files + (taken.files === 1 ? " file" : " files") + " taken" + out + ".";
      tag = "";
      refresh();
    } else {
      said.textContent = request.responseText.trim() || "The node answered " + request.status + ".";
    }
    file.value = "";
  });
  request.addEventListener("error", () => {
    said.className = "wrong";
    said.textContent = chosen.name + " was not taken: the connection ended.";
    file.value = "";
  });
  request.open("POST", "/files?name=" + encodeURIComponent(chosen.name));
  request.send(chosen);
}

asking = setTimeout(refresh, 500);
