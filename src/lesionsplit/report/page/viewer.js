// The volume in the browser, shown by NiiVue, whose script comes before this one.
(() => {
  "use strict";
  const find = (id) => document.getElementById(id);
  const data = JSON.parse(find("data").textContent);
  const canvas = find("canvas");
  const absent = find("viewer-absent");
  const state = { threshold: data.threshold, opacity: Number(find("opacity").defaultValue) / 100, mask: true, ready: false };

  const giveUp = (why) => {
    find("viewer").hidden = true;
    absent.hidden = false;
    absent.textContent = `The volume viewer is not available: ${why}. The rest of this page works without it.`;
  };
  if (!window.niivue) return giveUp("its script could not be run");
  if (!document.createElement("canvas").getContext("webgl2")) return giveUp("this browser has no WebGL 2, or it is switched off");
  absent.hidden = true;
  find("viewer").hidden = false;

  const nv = new niivue.Niivue({
    backColor: [0, 0, 0, 1], crosshairColor: [1, 0.78, 0.25, 0.7], crosshairWidth: 0.6, crosshairWidthUnit: "mm", crosshairGap: 8, show3Dcrosshair: false,
    isRadiologicalConvention: true, sagittalNoseLeft: true, multiplanarShowRender: 0, multiplanarLayout: 0,
    isColorbar: false, dragAndDropEnabled: false, isOrientCube: false, loadingText: "", logLevel: "error",
    isNearestInterpolation: false, viewModeHotKey: "", clipPlaneHotKey: "", cycleClipPlaneHotKey: "",
    fontColor: [1, 0.78, 0.25, 1], fontSizeScaling: 0.5, tileMargin: 4,
  });
  const views = { all: 3, axial: 0, coronal: 1, sagittal: 2, render: 4 };

  // Volumes: the CT; the heat map's colours; the mask's outline; and the heat map's opacity, which is never drawn itself.
  // The score is stored as its square root, in bytes, so that faint lesions are visible.
  const CT = 0, HEAT = 1, OUTLINE = 2, ALPHA = 3;

  // The inner edge, within axial slices, of what reaches the threshold.
  const drawOutline = () => {
    const { img: score, hdr } = nv.volumes[HEAT];
    const edge = nv.volumes[OUTLINE].img;
    const [, columns, rows, slices] = hdr.dims;
    const least = Math.max(1, Math.round(Math.sqrt(state.threshold) * 255));
    edge.fill(0);
    if (!state.mask) return;
    for (let slice = 0, at = 0; slice < slices; slice += 1) {
      for (let row = 0; row < rows; row += 1) {
        for (let column = 0; column < columns; column += 1, at += 1) {
          if (score[at] < least) continue;
          const border = column === 0 || row === 0 || column === columns - 1 || row === rows - 1;
          if (border || score[at - 1] < least || score[at + 1] < least || score[at - columns] < least || score[at + columns] < least) {
            edge[at] = 255;
          }
        }
      }
    }
  };

  // Slices in the chosen window; in 3-D the lungs' surface, where air turns into tissue, transparent.
  const chosen = (name) => document.querySelector(`input[name=${name}]:checked`)?.value;
  const inSpace = () => chosen("view") === "render";
  const showCt = () => {
    const shown = inSpace() ? data.glass : data.windows[Number(chosen("window") ?? 0)];
    nv.volumes[CT].colormap = inSpace() ? "lesionsplit-glass" : "gray";
    nv.volumes[CT].cal_min = shown.low;
    nv.volumes[CT].cal_max = shown.high;
  };

  let waiting = false;
  const redraw = () => {
    if (waiting || !state.ready) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      showCt();
      // In 3-D, scores well below the threshold would be a haze in front of the lesion.
      const clear = inSpace() ? 0.8 * Math.sqrt(state.threshold) : 0;
      nv.volumes[ALPHA].cal_min = clear;
      nv.volumes[ALPHA].cal_max = clear + (1 - clear) / Math.max(state.opacity, 1e-6);
      drawOutline();
      nv.updateGLVolume();
      canvas.dataset.drawn = String(Number(canvas.dataset.drawn ?? 0) + 1);
    });
  };

  const number = (value, digits) => value.toFixed(digits).replace(/^-(?=0*\.?0*$)/, "").replace("-", "−");
  const tell = () => {
    const step = data.volumes.length - 1;
    const reported = Math.abs(state.threshold - data.threshold) < 0.5 / step;
    const ml = reported ? data.lesion : data.volumes[Math.round(state.threshold * step)];
    const share = data.lungs ? ` – ${number((100 * ml) / data.lungs, 2)} % of both lungs` : "";
    const size = data.sized ? `${number(ml, ml < 10 ? 2 : 1)} mL` : "";
    find("threshold-out").textContent = reported ? data.words.threshold : number(state.threshold, 3);
    find("volumes").textContent = data.sized
      ? `A score of ${find("threshold-out").textContent} and above: ${size}${share}${reported ? " (as reported)" : ""}`
      : "";
    find("reset").disabled = reported;
  };

  find("opacity").addEventListener("input", (event) => {
    state.opacity = Number(event.target.value) / 100;
    find("opacity-out").textContent = `${event.target.value} %`;
    redraw();
  });
  find("threshold").addEventListener("input", (event) => {
    state.threshold = Number(event.target.value);
    tell();
    redraw();
  });
  find("reset").addEventListener("click", () => {
    state.threshold = data.threshold;
    find("threshold").value = String(data.threshold);
    tell();
    redraw();
  });
  find("mask").addEventListener("change", (event) => {
    state.mask = event.target.checked;
    redraw();
  });
  for (const option of document.querySelectorAll("input[name=view], input[name=window]")) {
    option.addEventListener("change", () => {
      if (!state.ready) return;
      nv.setSliceType(views[chosen("view")]);
      redraw();
    });
  }

  const goTo = (mm) => {
    nv.scene.crosshairPos = nv.mm2frac(mm);
    nv.createOnLocationChange();
    nv.drawScene();
  };
  find("goal")?.addEventListener("change", (event) => {
    if (state.ready && event.target.value !== "") goTo(data.goals[Number(event.target.value)]);
  });

  // Rotations that arrive while one is drawn are added up: without a GPU, drawing is slow.
  let turned = null;
  const turn = (azimuth, elevation) => {
    const waits = turned !== null;
    turned = [(turned?.[0] ?? 0) + azimuth, (turned?.[1] ?? 0) + elevation];
    if (waits) return;
    requestAnimationFrame(() => {
      nv.setRenderAzimuthElevation(nv.scene.renderAzimuth + turned[0], nv.scene.renderElevation + turned[1]);
      turned = null;
    });
  };

  // Before NiiVue, which has key bindings of its own.
  canvas.addEventListener("keydown", (event) => {
    const steps = {
      ArrowUp: [0, 0, 1], ArrowDown: [0, 0, -1], ArrowLeft: [1, 0, 0], ArrowRight: [-1, 0, 0],
      PageUp: [0, 0, 5], PageDown: [0, 0, -5],
    };
    if (!(event.key in steps) || event.ctrlKey || event.metaKey || event.altKey || !state.ready) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    const [right, , up] = steps[event.key];
    if (inSpace()) turn(10 * right, 10 * up);
    else nv.moveCrosshairInVox(...steps[event.key]);
  }, true);

  nv.onLocationChange = (place) => {
    const [value, lifted] = place.values.map((one) => one.value);
    const where = data.sized ? `R ${number(place.mm[0], 0)}, A ${number(place.mm[1], 0)}, S ${number(place.mm[2], 0)} mm` : "";
    const parts = [where, `${number(value, 0)}${data.hu ? " HU" : ""}`, `score ${number((lifted ?? 0) ** 2, 2)}`];
    find("readout").textContent = parts.filter(Boolean).join("   ·   ");
  };

  const load = (id, colormap, low, high) => niivue.NVImage.loadFromBase64({
    base64: find(id).textContent, name: `${id}.nii.gz`, colormap, cal_min: low, cal_max: high,
  });
  const add = (image, colormap, low, high, opacity) => {
    Object.assign(image, { colormap, cal_min: low, cal_max: high, opacity });
    nv.addVolume(image);
  };
  const start = async () => {
    await nv.attachToCanvas(canvas);
    nv.addColormap("lesionsplit-heat", data.heat);
    nv.addColormap("lesionsplit-outline", data.outline);
    nv.addColormap("lesionsplit-glass", data.glass.colours);
    const [first] = data.windows;
    const ct = await load("ct", "gray", first.low, first.high);
    const score = await load("score", "lesionsplit-heat", 0, 1);
    const [outline, alpha] = [score.clone(), score.clone()];
    add(ct, "gray", first.low, first.high, 1);
    add(score, "lesionsplit-heat", 0, 1, 1);
    add(outline, "lesionsplit-outline", 0, 1, 1);
    add(alpha, "gray", 0, 1, 0);
    nv.setModulationImage(score.id, alpha.id, 1);
    nv.setSliceType(views[chosen("view")]);
    nv.setRenderAzimuthElevation(165, 10);
    state.ready = true;
    if (data.start) goTo(data.start);
    redraw();
    find("busy").hidden = true;
    canvas.dataset.ready = "yes";
  };
  tell();
  start().catch((error) => giveUp(`the viewer failed (${error.message})`));
})();
