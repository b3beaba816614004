// The page without the viewer: the theme, the wipe between original and healthy version, the montage.
(() => {
  "use strict";
  const root = document.documentElement;
  const find = (id) => document.getElementById(id);
  root.classList.add("js");

  // Dark or light: as the system until the reader chooses.
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  const dark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
  const showTheme = () => {
    find("theme").textContent = dark() ? "Light" : "Dark";
    find("theme").setAttribute("aria-label", dark() ? "Switch to light colours" : "Switch to dark colours");
  };
  find("theme").addEventListener("click", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    showTheme();
  });
  system.addEventListener("change", showTheme);
  showTheme();

  // The slices: those of the montage, of which one is on the stage.
  const tiles = [...document.querySelectorAll(".tile")];
  const marks = [...document.querySelectorAll(".profile .mark")];
  const stage = find("stage");
  const wipe = find("wipe");
  const data = JSON.parse(find("data").textContent);
  let now = 0;

  const choose = (place) => {
    now = Math.max(0, Math.min(tiles.length - 1, place));
    const tile = tiles[now];
    for (const part of ["original", "healthy", "heat", "outline"]) {
      find(`stage-${part}`).src = tile.querySelector(`img.${part}`).src;
    }
    find("stage-original").alt = `Slice ${tile.dataset.number}, original`;
    find("stage-healthy").alt = `Slice ${tile.dataset.number}, healthy version`;
    find("which").textContent = data.slices[now];
    find("previous").disabled = now === 0;
    find("next").disabled = now === tiles.length - 1;
    tiles.forEach((one, index) => one.querySelector(".pick").setAttribute("aria-pressed", String(index === now)));
    marks.forEach((one, index) => one.classList.toggle("now", index === now));
  };

  const moveWipe = (percent) => {
    const share = Math.max(0, Math.min(100, percent));
    wipe.value = String(share);
    stage.style.setProperty("--wipe", `${share}%`);
    find("wipe-out").textContent = `${Math.round(share)} %`;
  };
  wipe.addEventListener("input", () => moveWipe(Number(wipe.value)));

  const beside = () => stage.classList.contains("beside");
  const drag = (event) => {
    const box = stage.getBoundingClientRect();
    moveWipe(((event.clientX - box.left) / box.width) * 100);
  };
  stage.addEventListener("pointerdown", (event) => {
    if (beside() || event.button !== 0) return;
    stage.setPointerCapture(event.pointerId);
    drag(event);
  });
  stage.addEventListener("pointermove", (event) => {
    if (stage.hasPointerCapture(event.pointerId)) drag(event);
  });
  stage.addEventListener("keydown", (event) => {
    const step = event.shiftKey ? 10 : 2;
    const keys = {
      ArrowLeft: () => moveWipe(Number(wipe.value) - step),
      ArrowRight: () => moveWipe(Number(wipe.value) + step),
      ArrowUp: () => choose(now - 1),
      ArrowDown: () => choose(now + 1),
      Home: () => choose(0),
      End: () => choose(tiles.length - 1),
    };
    if (!(event.key in keys) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    keys[event.key]();
  });
  find("previous").addEventListener("click", () => choose(now - 1));
  find("next").addEventListener("click", () => choose(now + 1));

  for (const part of ["heat", "outline"]) {
    const box = find(`show-${part}`);
    const show = () => find(`stage-${part}`).classList.toggle("hide", !box.checked);
    box.addEventListener("change", show);
    show();
  }
  for (const option of document.querySelectorAll("input[name=layout]")) {
    option.addEventListener("change", () => {
      stage.classList.toggle("beside", option.value === "beside");
      find("wipe-label").hidden = option.value === "beside";
      stage.setAttribute("aria-label", option.value === "beside" ? data.words.beside : data.words.wipe);
    });
  }
  tiles.forEach((tile, index) => {
    tile.querySelector(".pick").addEventListener("click", () => {
      choose(index);
      find("compare").scrollIntoView({ block: "nearest" });
    });
  });
  choose(data.worst);
})();
