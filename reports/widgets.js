// Draws the interactive figures of the report from their descriptions (reports/charts.py): charts of series that can be
// hidden and read off, and parallel coordinates that are brushed and rearranged. No library, no network.
"use strict";
(() => {
  const SVG = "http://www.w3.org/2000/svg";
  const DASHES = ["", "7 4", "9 3 2 3", "2 3", "8 2 2 2 2 2", "2 2", "12 4"];
  const RAMP = 6;

  const make = (parent, name, attributes = {}, text) => {
    const node = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    if (text !== undefined) node.textContent = text;
    parent.appendChild(node);
    return node;
  };
  const html = (parent, name, attributes = {}, text) => {
    const node = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    if (text !== undefined) node.textContent = text;
    parent.appendChild(node);
    return node;
  };
  const colour = (number) => `var(--series-${number % 7})`;
  const known = (value) => value !== null && value !== undefined;
  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

  const written = (axis, value) => {
    if (axis.categories.length) return axis.categories[Math.round(value)] ?? "";
    if (axis.percent) return `${+(100 * value).toPrecision(4)} %`;
    return value && Math.abs(value) < 1e-6 ? value.toExponential(1) : `${+value.toPrecision(4)}`;
  };

  // Scales: from a value to a place from 0 to 1

  const place = (axis, value) => {
    const f = axis.log ? Math.log : (x) => x;
    return (f(value) - f(axis.low)) / (f(axis.high) - f(axis.low));
  };

  const ticksOf = (axis, room) => {
    if (axis.categories.length) return axis.categories.map((_, number) => number);
    if (axis.log) {
      const ticks = [], decades = Math.log10(axis.high / axis.low);
      for (let power = Math.floor(Math.log10(axis.low)); power <= Math.ceil(Math.log10(axis.high)); power++)
        for (const digit of decades < 0.8 ? [1, 1.5, 2, 3, 4, 5, 7] : decades < 1.3 ? [1, 2, 3, 5] : decades < 2.5 ? [1, 3] : [1]) ticks.push(digit * 10 ** power);
      return ticks.filter((tick) => tick >= axis.low * 0.999 && tick <= axis.high * 1.001);
    }
    const rough = (axis.high - axis.low) / room, power = 10 ** Math.floor(Math.log10(rough));
    const step = power * [1, 2, 5, 10].find((each) => each * power >= rough);
    const ticks = [];
    for (let at = Math.ceil(axis.low / step - 1e-9); at * step <= axis.high + step * 1e-9; at++) ticks.push(at * step);
    return ticks;
  };

  const extent = (axis, values) => {
    const finite = values.filter((value) => known(value) && (!axis.log || value > 0));
    let low = axis.low ?? Math.min(...finite), high = axis.high ?? Math.max(...finite);
    if (axis.categories.length) return { ...axis, low: -0.5, high: axis.categories.length - 0.5 };
    const margin = axis.log ? (high > low ? (high / low) ** 0.04 : 2) : (high - low || 1) * 0.04;
    if (!known(axis.low)) low = axis.log ? low / margin : low - margin;
    if (!known(axis.high)) high = axis.log ? high * margin : high + margin;
    return { ...axis, low, high };
  };

  // Charts

  const chart = (root, spec) => {
    const hidden = new Set();
    if (spec.title) html(root, "strong", {}, spec.title);
    const keys = html(root, "div", { class: "keys" });
    const stage = html(root, "div", { style: "position:relative" });
    const tip = html(stage, "div", { class: "tip", hidden: "" });
    if (spec.series.length > 1)
      spec.series.forEach((series, number) => {
        const key = html(keys, "button", { type: "button", "aria-pressed": "true" });
        const sample = make(key, "svg", { viewBox: "0 0 26 8" });
        if (series.points) make(sample, "circle", { cx: 13, cy: 4, r: 3.5, fill: colour(series.colour) });
        else make(sample, "path", { d: "M0 4H26", stroke: colour(series.colour), "stroke-width": 2, "stroke-dasharray": DASHES[series.colour % 7] });
        key.append(series.name);
        key.addEventListener("click", () => {
          hidden.has(number) ? hidden.delete(number) : hidden.add(number);
          key.setAttribute("aria-pressed", String(!hidden.has(number)));
          draw();
        });
      });

    const draw = () => {
      stage.querySelector("svg")?.remove();
      tip.hidden = true;
      const width = stage.clientWidth || 640, height = clamp(width * 0.52, 260, 420);
      const shown = spec.series.filter((_, number) => !hidden.has(number));
      const every = (name) => shown.flatMap((series) => series[name]);
      const x = extent(spec.x, every("x")), y = extent(spec.y, [...every("y"), ...every("low"), ...every("high")]);
      const left = 58, right = width - 12, top = 10, bottom = height - 46;
      const px = (value) => left + (right - left) * place(x, value), py = (value) => bottom - (bottom - top) * place(y, value);
      const svg = make(stage, "svg", { viewBox: `0 0 ${width} ${height}`, height, "aria-hidden": "true" });
      if (shown.length) {
        let last = -Infinity;
        for (const tick of ticksOf(y, 6)) {
          make(svg, "path", { d: `M${left} ${py(tick)}H${right}`, stroke: "var(--line)" });
          make(svg, "text", { x: left - 8, y: py(tick) + 4, "text-anchor": "end", class: "faint" }, written(y, tick));
        }
        for (const tick of ticksOf(x, width / 90)) {
          const text = written(x, tick), half = text.length * 3.6;
          if (px(tick) - half < last + 8) continue;
          last = px(tick) + half;
          make(svg, "text", { x: px(tick), y: bottom + 18, "text-anchor": "middle", class: "faint" }, text);
        }
      }
      make(svg, "path", { d: `M${left} ${bottom}H${right}`, stroke: "var(--line)" });
      make(svg, "text", { x: (left + right) / 2, y: height - 8, "text-anchor": "middle", class: "faint" }, spec.x.label);
      make(svg, "text", { x: 0, y: 0, transform: `translate(12 ${(top + bottom) / 2}) rotate(-90)`, "text-anchor": "middle", class: "faint" }, spec.y.label);
      // Nothing is drawn outside of the axes, whatever their limits.
      const clip = `clip-${root.id}`;
      make(make(svg, "clipPath", { id: clip }), "rect", { x: left, y: top - 6, width: right - left, height: bottom - top + 6 });
      const inside = make(svg, "g", { "clip-path": `url(#${clip})` });

      const targets = [];
      for (const series of shown) {
        const ink = colour(series.colour);
        const visible = (at) => known(series.x[at]) && known(series.y[at]) && (!x.log || series.x[at] > 0) && (!y.log || series.y[at] > 0);
        const path = (values) => {
          let d = "", pen = false, before = 0;
          values.forEach((value, at) => {
            if (!visible(at) || !known(value)) { pen = false; return; }
            const [a, b] = [px(series.x[at]), py(value)];
            d += pen ? (series.steps ? `L${a} ${before}L${a} ${b}` : `L${a} ${b}`) : `M${a} ${b}`;
            pen = true; before = b;
          });
          return d;
        };
        if (series.low.length) {
          const back = [];
          for (let at = series.x.length - 1; at >= 0; at--)
            if (visible(at) && known(series.low[at])) {
              const next = back.length ? series.x[back[back.length - 1].at] : null;
              back.push({ at, next });
            }
          const lower = back.map(({ at, next }) => (series.steps && next !== null ? `L${px(next)} ${py(series.low[at])}` : "") + `L${px(series.x[at])} ${py(series.low[at])}`).join("");
          make(inside, "path", { d: `${path(series.high)}${lower}Z`, fill: ink, opacity: 0.16, stroke: "none" });
        }
        if (!series.points) make(inside, "path", { d: path(series.y), fill: "none", stroke: ink, "stroke-width": 2, "stroke-dasharray": DASHES[series.colour % 7] });
        series.x.forEach((_, at) => {
          if (!visible(at)) return;
          if (series.points) make(inside, "circle", { cx: px(series.x[at]), cy: py(series.y[at]), r: 3, fill: ink, opacity: 0.7 });
          targets.push({ series, at, x: px(series.x[at]), y: py(series.y[at]) });
        });
      }
      const ring = make(svg, "circle", { r: 6, fill: "none", stroke: "var(--ink)", "stroke-width": 1.5, visibility: "hidden" });
      const tell = (event) => {
        const at = svg.getBoundingClientRect(), mx = event.clientX - at.left, my = event.clientY - at.top;
        const near = targets.reduce((best, one) => {
          const far = Math.hypot(one.x - mx, one.y - my);
          return far < best.far ? { one, far } : best;
        }, { one: null, far: 40 }).one;
        ring.setAttribute("visibility", near ? "visible" : "hidden");
        tip.hidden = !near;
        if (!near) return;
        ring.setAttribute("cx", near.x);
        ring.setAttribute("cy", near.y);
        const { series, at: number } = near;
        const note = series.notes[number] ? `\n${series.notes[number]}` : "";
        const band = series.low.length && known(series.low[number]) ? ` (${written(y, series.low[number])} to ${written(y, series.high[number])})` : "";
        tip.textContent = `${series.name}\n${spec.x.label}: ${written(x, series.x[number])}\n${spec.y.label}: ${written(y, series.y[number])}${band}${note}`;
        tip.style.left = `${clamp(near.x + 12, 0, Math.max(width - tip.offsetWidth, 0))}px`;
        tip.style.top = near.y > height / 2 ? `${Math.max(near.y - tip.offsetHeight - 12, 0)}px` : `${near.y + 12}px`;
      };
      svg.addEventListener("pointermove", tell);
      svg.addEventListener("pointerdown", tell);
      svg.addEventListener("pointerleave", () => { tip.hidden = true; ring.setAttribute("visibility", "hidden"); });
    };
    redrawn(root, draw);
  };

  // Parallel coordinates: upright axes where there is room; on a narrow screen one axis below the other, brushed
  // sideways, so that a finger that scrolls the page never gets caught.

  const parallel = (root, spec) => {
    const order = spec.axes.map((_, number) => number), brushes = new Map();
    let best = spec.colour;
    const told = html(root, "div", { class: "told", "aria-live": "polite" });
    const stage = html(root, "div", { style: "position:relative" });
    const value = (row, axis) => spec.rows[row][axis];
    const aside = (axis, row) => spec.axes[axis].categories.length ? (((row * 0.618034) % 1) - 0.5) * 0.5 / spec.axes[axis].categories.length : 0;
    const where = spec.axes.map((axis, number) => spec.rows.map((_, row) => known(value(row, number)) ? place(axis, value(row, number)) : null));
    // By rank, so that each colour has as many lines.
    const sorted = spec.axes.map((_, number) => where[number].filter((share) => share !== null).sort((a, b) => a - b));
    const shade = (row) => {
      const below = sorted[best].filter((share) => share < (where[best][row] ?? -1)).length;
      return `var(--ramp-${clamp(Math.floor(below / Math.max(sorted[best].length, 1) * RAMP), 0, RAMP - 1)})`;
    };
    const kept = (row) => [...brushes].every(([axis, [low, high]]) => {
      const at = where[axis][row];
      return at !== null && at + aside(axis, row) >= low && at + aside(axis, row) <= high;
    });

    const draw = () => {
      stage.querySelector("svg")?.remove();
      const width = stage.clientWidth || 640, narrow = width < 600, count = order.length;
      const long = narrow ? width - 48 : 300, gap = narrow ? 62 : (width - 110) / Math.max(count - 1, 1);
      const height = narrow ? 46 + gap * (count - 1) + 30 : long + 70;
      // A point of the plane from a place along an axis and the axis' number in the order.
      const point = (share, number) => narrow ? [24 + long * share, 34 + gap * number] : [46 + gap * number, 44 + long * (1 - share)];
      const svg = make(stage, "svg", { viewBox: `0 0 ${width} ${height}`, height });
      const lines = make(svg, "g", { fill: "none" });
      const drawn = spec.rows.map((_, row) => row)
        .sort((a, b) => (where[best][a] ?? -1) - (where[best][b] ?? -1))
        .map((row) => {
          let d = "", pen = false;
          order.forEach((axis, number) => {
            if (where[axis][row] === null) { pen = false; return; }
            d += (pen ? "L" : "M") + point(where[axis][row] + aside(axis, row), number).map((x) => x.toFixed(1)).join(" ");
            pen = true;
          });
          return [row, make(lines, "path", { d, stroke: shade(row) })];
        });
      const paint = () => {
        let left = 0, top = null;
        for (const [row, line] of drawn) {
          const on = kept(row);
          line.setAttribute("stroke-opacity", on ? (brushes.size ? 0.9 : 0.5) : 0.05);
          line.setAttribute("stroke-width", on && brushes.size ? 1.4 : 1);
          if (on) { left++; if (known(value(row, best)) && (top === null || value(row, best) > value(top, best))) top = row; }
        }
        const summary = top === null ? "" : `; best ${spec.axes[best].label} ${written(spec.axes[best], value(top, best))}`;
        told.textContent = `${left} of ${spec.rows.length} trials${summary}. ` + (brushes.size ? "Tap an axis to free it."
          : narrow ? "Drag along an axis to select, tap a name to colour by it."
          : "Drag along an axis to select, drag a name (or focus it and press an arrow key) to move an axis, double-click a name to colour by it.");
      };

      order.forEach((axis, number) => {
        const it = spec.axes[axis], [x0, y0] = point(0, number), [x1, y1] = point(1, number);
        make(svg, "path", { d: `M${x0} ${y0}L${x1} ${y1}`, stroke: "var(--faint)" });
        let last = -Infinity;
        for (const [tick, text] of it.ticks) {
          const [x, y] = point(place(it, tick), number), half = text.length * 3.4;
          if (narrow && x - half < last + 6) continue;
          last = x + half;
          const style = { stroke: "var(--paper)", "stroke-width": 3, "paint-order": "stroke", "pointer-events": "none" };
          if (narrow) make(svg, "text", { x, y: y + 16, "text-anchor": "middle", ...style }, text);
          else if (number === count - 1) make(svg, "text", { x: x + 6, y: y + 4, ...style }, text);
          else make(svg, "text", { x: x + 5, y: y + 4, ...style }, text);
        }
        // The brush
        const mark = make(svg, "rect", { fill: "var(--ink)", "fill-opacity": 0.2, stroke: "var(--ink)", visibility: "hidden" });
        const show = () => {
          const range = brushes.get(axis);
          mark.setAttribute("visibility", range ? "visible" : "hidden");
          if (!range) return;
          const [a, b] = [point(range[0], number), point(range[1], number)];
          const box = narrow ? { x: a[0], y: a[1] - 8, width: b[0] - a[0], height: 16 } : { x: a[0] - 8, y: b[1], width: 16, height: a[1] - b[1] };
          for (const [key, size] of Object.entries(box)) mark.setAttribute(key, size);
        };
        const strip = narrow ? { x: x0 - 10, y: y0 - 13, width: long + 20, height: 26 } : { x: x0 - 11, y: y1 - 8, width: 22, height: long + 16 };
        const grip = make(svg, "rect", { ...strip, fill: "transparent", style: `cursor:crosshair;touch-action:${narrow ? "pan-y" : "none"}` });
        const share = (event) => {
          const at = svg.getBoundingClientRect();
          return clamp(narrow ? (event.clientX - at.left - 24) / long : 1 - (event.clientY - at.top - 44) / long, -0.06, 1.06);
        };
        let from = null;
        grip.addEventListener("pointerdown", (event) => { from = share(event); grip.setPointerCapture(event.pointerId); });
        grip.addEventListener("pointermove", (event) => {
          if (from === null) return;
          const to = share(event);
          if (Math.abs(to - from) > 0.015) brushes.set(axis, [Math.min(from, to), Math.max(from, to)]);
          show(); paint();
        });
        const stop = (event) => {
          if (from !== null && Math.abs(share(event) - from) <= 0.015) brushes.delete(axis);
          from = null; show(); paint();
        };
        grip.addEventListener("pointerup", stop);
        grip.addEventListener("pointercancel", () => { from = null; });
        show();
        // The name
        const words = it.label.split(" ");
        const name = make(svg, "text", narrow
          ? { x: 24, y: y0 - 12, "font-weight": axis === best ? 700 : 400 }
          : { x: x0, y: words.length > 1 ? 12 : 24, "text-anchor": "middle", "font-weight": axis === best ? 700 : 400 });
        if (narrow) name.textContent = it.label;
        else [words[0], words.slice(1).join(" ")].filter(Boolean).forEach((word, line) => make(name, "tspan", { x: x0, dy: line ? 14 : 0 }, word));
        name.setAttribute("tabindex", "0");
        name.setAttribute("role", "button");
        name.setAttribute("aria-label", `axis ${it.label}: arrow keys move it, Enter colours by it`);
        name.setAttribute("style", `cursor:${narrow ? "pointer" : "grab"};touch-action:manipulation;paint-order:stroke;stroke:var(--paper);stroke-width:4px`);
        const move = (to) => {
          to = clamp(to, 0, count - 1);
          if (to === number) return;
          order.splice(number, 1);
          order.splice(to, 0, axis);
          draw();
          stage.querySelectorAll("text[role=button]")[to]?.focus();
        };
        let held = null;
        name.addEventListener("pointerdown", (event) => { if (!narrow) { held = event.clientX; name.setPointerCapture(event.pointerId); } });
        name.addEventListener("pointerup", (event) => {
          if (held === null) return;
          const by = Math.round((event.clientX - held) / gap);
          held = null;
          if (by) move(number + by);
        });
        const recolour = () => { best = axis; draw(); };
        name.addEventListener(narrow ? "click" : "dblclick", recolour);
        name.addEventListener("keydown", (event) => {
          const step = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 }[event.key];
          if (step) { event.preventDefault(); move(number + step); }
          if (event.key === "Enter") recolour();
        });
      });
      paint();
    };
    redrawn(root, draw);
  };

  const redrawn = (root, draw) => {
    draw();
    let width = root.clientWidth;
    window.addEventListener("resize", () => { if (root.clientWidth !== width) { width = root.clientWidth; draw(); } });
  };

  document.querySelectorAll(".widget").forEach((root, number) => {
    root.id = `widget-${number}`;
    const spec = JSON.parse(root.querySelector("script").textContent);
    ({ chart, parallel })[spec.kind](root, spec);
  });
})();
