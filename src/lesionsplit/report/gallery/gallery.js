"use strict";
(() => {
  const heat = JSON.parse(document.body.dataset.heat);
  const threshold = Number(document.body.dataset.threshold);
  const outline = [0, 229, 255];  // far from every colour of the heat map, and from grey
  const at = (id) => document.getElementById(id);

  const colour = (share) => {
    const place = Math.min(Math.max(share, 0), 1) * (heat.length - 1);
    const below = Math.min(Math.floor(place), heat.length - 2);
    return [0, 1, 2].map((c) => heat[below][c] + (place - below) * (heat[below + 1][c] - heat[below][c]));
  };

  const load = (source) => new Promise((resolve, reject) => {
    const image = new Image();
    image.onload = () => resolve(image);
    image.onerror = reject;
    image.src = source;
  });

  const pixels = (image, width, height) => {
    const canvas = Object.assign(document.createElement("canvas"), { width, height });
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(image, 0, 0, width, height);
    return context.getImageData(0, 0, width, height).data;
  };

  const read = async (canvas) => {
    const [picture, score] = await Promise.all([load(canvas.dataset.picture), load(canvas.dataset.score)]);
    const [width, height] = [canvas.width, canvas.height];
    return { canvas, picture: pixels(picture, width, height), score: pixels(score, width, height) };
  };

  const draw = ({ canvas, picture, score }) => {
    const [width, height] = [canvas.width, canvas.height];
    const floor = Number(at("floor").value);
    const context = canvas.getContext("2d");
    const drawn = context.createImageData(width, height);
    const inside = (x, y) => x >= 0 && y >= 0 && x < width && y < height && score[4 * (y * width + x)] >= 255 * threshold;
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const here = 4 * (y * width + x);
        const share = score[here] / 255;
        let [r, g, b] = [picture[here], picture[here + 1], picture[here + 2]];
        if (at("heat").checked && share >= floor) {
          const place = (share - floor) / Math.max(1 - floor, 1e-3);
          const [hr, hg, hb] = colour(0.35 + 0.65 * place);
          const weight = 0.45 + 0.3 * place;
          [r, g, b] = [r + weight * (hr - r), g + weight * (hg - g), b + weight * (hb - b)];
        }
        const edge = at("outline").checked && inside(x, y)
          && !(inside(x - 1, y) && inside(x + 1, y) && inside(x, y - 1) && inside(x, y + 1));
        if (edge) [r, g, b] = outline;
        drawn.data.set([r, g, b, 255], here);
      }
    }
    context.putImageData(drawn, 0, 0);
  };

  const scale = () => {
    const context = at("scale").getContext("2d");
    for (let x = 0; x < 160; x++) {
      context.fillStyle = `rgb(${colour(0.35 + 0.65 * x / 159).map(Math.round).join()})`;
      context.fillRect(x, 0, 1, 12);
    }
    at("floor-value").textContent = at("scale-from").textContent = Number(at("floor").value).toFixed(3);
  };

  const all = [];
  const again = () => { scale(); all.forEach(draw); };
  for (const id of ["floor", "heat", "outline"]) at(id).addEventListener("input", again);
  at("which").addEventListener("input", () => {
    for (const one of document.querySelectorAll("figure")) {
      one.hidden = at("which").value !== "all" && one.dataset.lesion !== at("which").value;
    }
    at("nothing").hidden = document.querySelector("figure:not([hidden])") !== null;
  });
  scale();
  for (const canvas of document.querySelectorAll("figure canvas")) {
    read(canvas).then((one) => { all.push(one); draw(one); });
  }
})();
