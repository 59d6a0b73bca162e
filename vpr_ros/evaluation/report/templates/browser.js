"use strict";
// Shows one frame of the table at a time. The frame is named by the page's address: report.html#frame=12.
(() => {
  const box = document.getElementById("browser");
  if (!box) return;
  const table = JSON.parse(document.getElementById("frames").textContent);
  const part = (name) => box.querySelector(`[data-part="${name}"]`);
  const slider = part("slider"), number = part("number");
  const earliest = table.after_ns.reduce((least, ns) => Math.min(least, ns), 0);
  const columns = {
    ...table,
    frame: table.status.map((_, i) => i),
    time: table.after_ns.map((ns) => (ns - earliest) / 1e9),
  };
  let current = 0, waiting = 0;

  const digits = (value, count) => (value === null || value === undefined ? "–" : value.toFixed(count));
  const outside = (share) => share < 0 || share > 1;
  const sentence = (name, i) => {
    let next = 0;
    return table[name + "s"][table[name][i]].replace(/\0/g, () => table[name + "_numbers"][i][next++]);
  };
  const stamp = (i) => {
    const ns = BigInt(table.first_ns) + BigInt(table.after_ns[i]);
    // Simulated clocks begin near zero: their date would say nothing.
    const date = ns > 10n ** 17n ? ", " + new Date(Number(ns / 1000000n)).toISOString().replace("T", " ").replace("Z", " UTC") : "";
    return `${ns} ns, ${digits(columns.time[i], 2)} s after the first frame${date}`;
  };

  function shot(name, source, alt, caption) {
    const figure = box.querySelector(`[data-shot="${name}"]`), image = figure.querySelector("img");
    figure.hidden = caption === null;
    image.hidden = !source;
    figure.querySelector(".none").hidden = Boolean(source);
    if (source) image.src = source; else image.removeAttribute("src");
    image.alt = alt;
    figure.querySelector("span").textContent = caption ?? "";
  }

  function keyframe(name, i, words) {
    const id = table[name]?.[i] ?? null, shown = table[name + "_picture"]?.[i] ?? null;
    const source = shown === null ? null : table.keyframe_pictures[shown];
    const instead = source && shown !== id ? ` (picture of keyframe ${shown})` : "";
    const title = box.querySelector(`[data-shot="${name}"] b`).textContent;
    if (id === null) shot(name, null, "", "there is none");
    else shot(name, source, `${title}: keyframe ${shown ?? id}`, `keyframe ${id}${instead}${words}`);
  }

  function show(i) {
    current = Math.min(Math.max(Math.round(i) || 0, 0), table.count - 1);
    i = current;
    slider.value = number.value = i;
    slider.setAttribute("aria-valuetext", `frame ${i}`);
    const shown = table.picture[i], pictured = shown === null ? null : table.frame_pictures[shown];
    const instead = pictured && shown !== i ? ` (picture of frame ${shown})` : "";
    shot("query", pictured, `Query: frame ${shown ?? i}`, `frame ${i}${instead}`);
    keyframe("best", i, `, probability ${digits(table.probability[i], 4)}`);
    keyframe("second", i, `, probability ${digits(table.second_probability[i], 4)}`);
    const right = table.right?.[i] ?? null;
    if (right !== null && table.outcomes[table.outcome[i]][1] !== "good") keyframe("right", i, "");
    else shot("right", null, "", null);
    const status = table.statuses[table.status[i]];
    const [label, tone] = table.outcome ? table.outcomes[table.outcome[i]] : [status, status === "accepted" ? "good" : "warn"];
    part("tag").textContent = `Frame ${i}: ${status}`;
    part("tag").className = `tag ${tone}`;
    part("reason").textContent = sentence("reason", i);
    const cells = {
      probability: `best place ${digits(table.probability[i], 4)}, runner-up ${digits(table.second_probability[i], 4)}, off the map ${digits(table.unknown[i], 4)}`,
      similarity: `best place ${digits(table.best_similarity[i], 4)}, runner-up ${digits(table.second_similarity[i], 4)}, first retrieved ${digits(table.similarity[i], 4)}`,
      stamp: stamp(i),
      note: sentence("note", i),
      truth: "",
    };
    if (table.outcome) {
      const error = table.error_m[i], rank = table.rank[i];
      const ranked = right === null ? "" : rank ? `; the right place was at rank ${rank} of the single-frame search` : "; the right place was not among the retrieved images";
      cells.truth = label + (error === null ? "" : `; the best place is ${error.toFixed(1)} m from the true position`) + ranked;
    }
    for (const [name, text] of Object.entries(cells)) {
      part(name).textContent = text;
      box.querySelector(`[data-cell="${name}"]`).hidden = !text;
    }
    for (const {mark, panel} of marks) {
      const x = columns[panel.x][i], y = columns[panel.y][i];
      const across = panel.across_scale * x + panel.across_start, down = panel.down_scale * y + panel.down_start;
      mark.hidden = x === null || y === null || outside(across) || outside(down);
      mark.style.left = `${100 * across}%`;
      mark.style.top = `${100 * down}%`;
    }
  }

  // The address changes at most a few times a second: browsers refuse more.
  function choose(i) {
    show(i);
    clearTimeout(waiting);
    waiting = setTimeout(() => history.replaceState(null, "", `#frame=${current}`), 150);
  }

  const marks = [];
  for (const drawing of document.querySelectorAll("[data-panels]")) {
    const panels = JSON.parse(drawing.dataset.panels);
    for (const panel of panels) {
      const mark = drawing.appendChild(document.createElement("i"));
      mark.className = "mark";
      marks.push({mark, panel});
    }
    drawing.addEventListener("click", (event) => {
      const area = drawing.getBoundingClientRect();
      const across = event.clientX - area.left, down = event.clientY - area.top;
      let best = null, least = Infinity;
      for (const panel of panels) {
        const xs = columns[panel.x], ys = columns[panel.y];
        for (let i = 0; i < table.count; i++) {
          if (xs[i] === null || ys[i] === null) continue;
          const x = panel.across_scale * xs[i] + panel.across_start, y = panel.down_scale * ys[i] + panel.down_start;
          if (outside(x) || outside(y)) continue;
          const dx = x * area.width - across, dy = y * area.height - down;
          if (dx * dx + dy * dy < least) [best, least] = [i, dx * dx + dy * dy];
        }
      }
      if (best !== null) choose(best);
    });
  }

  for (const link of document.querySelectorAll("a[data-frame]")) {
    const i = Number(link.dataset.frame), pair = document.createElement("span");
    pair.className = "pair";
    for (const source of [table.frame_pictures[i], table.keyframe_pictures[table.best[i]]]) {
      if (!source) continue;
      const image = pair.appendChild(document.createElement("img"));
      image.src = source;
      image.alt = "";  // the link's own words say which frame it is
    }
    if (pair.children.length) link.prepend(pair);
  }

  const named = () => /^#frame=(\d+)$/.exec(location.hash)?.[1];
  const follow = () => {
    if (named() === undefined) return;
    show(Number(named()));
    box.scrollIntoView({block: "start"});
  };
  document.documentElement.style.setProperty("--aspect", table.aspect);
  slider.addEventListener("input", () => choose(slider.valueAsNumber));
  number.addEventListener("change", () => choose(number.valueAsNumber));
  for (const button of box.querySelectorAll("[data-step]")) {
    button.addEventListener("click", () => choose(current + Number(button.dataset.step)));
  }
  document.addEventListener("keydown", (event) => {
    const step = {ArrowLeft: -1, ArrowRight: 1}[event.key];
    if (!step || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey || event.target.tagName === "INPUT") return;
    event.preventDefault();
    choose(current + step);
  });
  addEventListener("hashchange", follow);
  show(0);
  follow();
})();
