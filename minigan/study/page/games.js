// The game on a line and in the plane: pictures of the recorded moments, with what to watch for.
'use strict';

sections.games = (root, data) => {
  const MOVES = 'how G would move samples';
  const ANSWERS = {V: 'V (−log 4 = −1.386)', D_x: 'mean D(x), data', D_G_z: 'mean D(G(z)), samples'};
  const BLIND = -Math.log(4);  // V where D says 1/2 for everything
  const LOSSES = {'−log D(G(z)): section 3': 0, 'log(1 − D(G(z))): Algorithm 1': 1};

  const percent = (x) => `${Math.round(100 * x)} %`;

  line(root.querySelector('#line-figure'), unpacked(data.line));
  plane(root.querySelector('#plane-figure'), data.plane);

  /* ---- On a line ---- */

  function line(figure, game) {
    let now = 0, redraw = () => {};
    const again = () => redraw(), canvas = element('div'), below = element('div');
    const watch = element('p', {class: 'watch', role: 'status'});
    const shown = legend(figure, {
      p_data: ['data, p<sub>data</sub>', '--data', 'dotted'], p_g: ['samples, p<sub>g</sub> and bars', '--samples', 'solid bars'],
      D: ['D', '--D', 'dashed'], D_star: ['D*, the best D', '--best', 'solid'],
      moves: [MOVES, '--ink', 'arrow']}, again);
    figure.append(canvas);
    const tell = numbers(below, {...ANSWERS, covered: 'overlap of p<sub>g</sub> and p<sub>data</sub>'});
    const steer = player(figure, {label: 'The game on a line', names: game.t.map((t) => `step ${t}`), show(i) {
      now = i;
      say(watch, game.words[i]);
      tell({...answers(game, i), covered: percent(game.covered[i])});
      redraw();
    }});
    figure.append(watch, below);
    const loss = chooser(below, 'Arrows show how G descends', LOSSES, again);
    const curve = valueCurve(below, () => game, () => now, steer);
    const drawing = picture(canvas, {
      label: 'Curves of p_data, p_g, D and D* over x; arrows of the gradient; lines from z to x = G(z)',
      ratio: (width) => Math.max(0.5, 1.3 - width / 900),
      draw: (context, width, height) => drawLineGame(context, width, height, game, now, shown, loss.value)});
    redraw = () => { drawing(); curve(); };
    redraw();
  }

  // From the top: curves, arrows, the numbers of the axis, lines from z to x.
  function drawLineGame(context, width, height, game, now, shown, loss) {
    const left = 34, right = width - 10, zTop = height - Math.max(70, 0.2 * height), bottom = zTop - 66, top = 8;
    const x = scale(...game.x, left, right), y = scale(0, 1.2, bottom, top);
    const drawn = Object.keys(shown).filter((name) => shown[name].checked);
    axes(context, {left, right, top, bottom, x, y, label: zTop - 10});
    context.save();
    context.beginPath();
    context.rect(left, top, right - left, height);
    context.clip();
    if (drawn.includes('p_g')) {
      context.globalAlpha = 0.25;
      drawHistogram(context, [...game.histogram.at(now)], {x: left, y: top, width: right - left, height: bottom - top,
                                                           top: 1.2, fill: colour('--samples')});
      context.globalAlpha = 1;
    }
    drawCurves(context, game, now, drawn, x, y);
    const samples = [...game.samples.at(now)];
    if (drawn.includes('moves')) {
      const places = samples.filter((_, i) => i % 2 === 0), moves = game.moves.at(now).subarray(loss * places.length);
      places.forEach((place, i) => drawArrow(context, x(place), bottom + 9 + 7 * (i % 5), 70 * moves[i], 0));
    }
    drawMap(context, samples, game.z.values, x, zTop, height - 14);
    context.restore();
  }

  function drawCurves(context, game, now, drawn, x, y) {
    const p_data = game.p_data.values, p_g = game.p_g.at(now), n = p_data.length;
    const grid = Array.from(p_data, (_, i) => x(game.x[0] + (game.x[1] - game.x[0]) * i / (n - 1)));
    const isSomewhere = (i) => p_data[i] + p_g[i] > 0.004;  // elsewhere D* is a ratio of two numbers near 0
    const curves = {
      p_g: [p_g, {stroke: colour('--samples'), width: 2}],
      p_data: [p_data, {stroke: colour('--data'), width: 2.5, dash: [2, 4]}],
      D_star: [game.D_star.at(now).map((D, i) => (isSomewhere(i) ? D : NaN)), {stroke: colour('--best'), width: 1.75}],
      D: [game.D.at(now), {stroke: colour('--D'), width: 2.25, dash: [8, 5]}]};
    for (const [name, [values, style]] of Object.entries(curves)) {
      if (drawn.includes(name)) drawPieces(context, grid, Array.from(values, y), style);
    }
  }

  function axes(context, {left, right, top, bottom, x, y, label}) {
    context.fillStyle = colour('--muted');
    context.textAlign = 'right';
    [0, 0.5, 1].forEach((tick) => context.fillText(String(tick), left - 8, y(tick) + 4));
    context.fillText('x', left - 8, label + 14);
    context.textAlign = 'center';
    [-4, -2, 0, 2, 4].forEach((tick) => {
      context.fillText(fixed(tick, 0), Math.min(Math.max(x(tick), left + 8), right - 8), label);
    });
    drawLine(context, [left, right], [bottom, bottom], {stroke: colour('--muted'), width: 1});
    drawLine(context, [left, right], [y(0.5), y(0.5)], {stroke: colour('--rule'), width: 1});
    drawLine(context, [left, left], [top, bottom], {stroke: colour('--rule'), width: 1});
  }

  // A line in pieces, which stops where y is NaN.
  function drawPieces(context, xs, ys, style) {
    let from = 0;
    for (let i = 0; i <= xs.length; i++) {
      if (i < xs.length && !Number.isNaN(ys[i])) continue;
      if (i - from > 1) drawLine(context, xs.slice(from, i), ys.slice(from, i), style);
      from = i + 1;
    }
  }

  // Lines from z, below, up to x = G(z).
  function drawMap(context, samples, z, x, top, bottom) {
    drawLine(context, [x(-4), x(4)], [top, top], {stroke: colour('--muted'), width: 1});
    drawLine(context, [x(z[0]), x(z[z.length - 1])], [bottom, bottom], {stroke: colour('--muted'), width: 1});
    context.fillStyle = colour('--muted');
    context.textAlign = 'right';
    context.fillText('z', x(z[0]) - 8, bottom + 3);
    samples.forEach((sample, i) => {
      drawLine(context, [x(z[i]), x(sample)], [bottom, top], {stroke: colour('--samples'), width: 1});
    });
  }

  /* ---- In the plane ---- */

  function plane(figure, data) {
    const plays = Object.values(data.plays).map(unpacked), real = decode(data.data);
    let now = 0, play = plays[0], redraw = () => {};
    const again = () => redraw();
    const settings = element('div', {class: 'settings'}), left = element('div'), right = element('div');
    const watch = element('p', {class: 'watch', role: 'status'});
    figure.append(settings, element('div', {class: 'side'}, left, right));
    const recording = chooser(settings, 'Adam', Object.fromEntries(
      plays.map((play) => [`learning rate ${play.rate}, beta1 ${play.beta1}`, play])), () => {
      play = recording.value;
      steer.go(now);
    });
    const surface = chooser(settings, 'Colours show', {'D': 'D', 'D*, the best D': 'D_star'}, again);
    const canvas = left.appendChild(element('div'));
    left.append(element('div', {class: 'scale'}, '0: a sample', element('span'), '1: data'));
    const shown = legend(left, {data: ['data', '--data', 'dots'], samples: ['samples', '--samples', 'dots'],
                                moves: [MOVES, '--ink', 'arrow']}, again);
    right.append(watch);
    const tell = numbers(right, {modes: 'modes found', near: 'samples near a mode', ...ANSWERS});
    const steer = player(left, {label: 'The game in the plane', names: play.t.map((t) => `step ${t}`), show(i) {
      now = i;
      say(watch, play.words[i]);
      tell({...answers(play, i), modes: `${play.modes[i]} of 8`, near: percent(play.near[i])});
      redraw();
    }});
    const loss = chooser(right, 'Arrows show how G descends', LOSSES, again);
    const curve = valueCurve(right, () => play, () => now, steer);
    const drawing = picture(canvas, {
      label: 'The plane with data, samples, the answers of D as colours, and arrows of the gradient', ratio: 1,
      draw: (context, width) => drawPlane(context, width, data, play, now, real, shown, surface.value, loss.value)});
    redraw = () => { drawing(); curve(); };
    redraw();
  }

  function drawPlane(context, width, data, play, now, real, shown, surface, loss) {
    const [low, high] = data.x, x = scale(low, high, 0, width), y = scale(low, high, width, 0);
    const shade = shades('--low', '--middle', '--high');
    context.drawImage(bitmap(play[surface].at(now), data.side, data.side, shade), 0, 0, width, width);
    const dots = (points, fill, size) => {
      context.fillStyle = fill;
      for (let i = 0; i < points.length; i += 2) {
        context.beginPath();
        context.arc(x(points[i]), y(points[i + 1]), size, 0, 2 * Math.PI);
        context.fill();
      }
    };
    if (shown.data.checked) dots(real.values, colour('--data'), 1.25);
    const samples = play.samples.at(now);
    if (shown.samples.checked) {
      dots(samples, colour('--paper'), 3.25);
      dots(samples, colour('--samples'), 2.25);
    }
    if (shown.moves.checked) {
      const n = play.moves.shape[2], moves = play.moves.at(now).subarray(2 * loss * n, 2 * (loss + 1) * n);
      for (let i = 0; i < n; i++) {
        drawArrow(context, x(samples[2 * i]), y(samples[2 * i + 1]), 60 * moves[2 * i], -60 * moves[2 * i + 1]);
      }
    }
  }

  /* ---- Both ---- */

  // A copy of a recorded game in which packed arrays are decoded.
  function unpacked(game) {
    const entries = Object.entries(game).map(([name, entry]) => [name, entry?.bytes ? decode(entry) : entry]);
    return Object.fromEntries(entries);
  }

  // Checkboxes that say what a line or dot means and whether it is drawn. entries: key -> [words, colour, kind].
  function legend(root, entries, onchange) {
    const box = root.appendChild(element('fieldset', {class: 'legend', 'aria-label': 'Shown in the figure'}));
    return Object.fromEntries(Object.entries(entries).map(([key, [words, name, kind]]) => {
      const check = element('input', {type: 'checkbox', checked: true, onchange});
      box.append(element('label', {}, check, element('span', {class: `swatch ${kind}`, style: `--of: var(${name})`}),
                         fromHTML('span', words)));
      return [key, check];
    }));
  }

  // A labelled choice. choices: words -> value. Returns an object whose value is the chosen one.
  function chooser(root, label, choices, onchange) {
    const values = Object.values(choices);
    const select = element('select', {onchange}, ...Object.keys(choices).map((words) => element('option', {}, words)));
    root.append(element('label', {class: 'choice'}, label, select));
    return {get value() { return values[select.selectedIndex]; }};
  }

  // V and D's mean answers at a moment.
  function answers(game, i) {
    return {V: fixed(game.V[i], 3), D_x: fixed(game.D_x[i], 2), D_G_z: fixed(game.D_G_z[i], 2)};
  }

  // Words that a screen reader reads out when they change.
  function say(place, words) {
    if (place.textContent !== words) place.textContent = words;
  }

  // Named numbers. Returns a function that takes new ones.
  function numbers(root, names) {
    const list = root.appendChild(element('dl', {class: 'numbers'})), places = {};
    for (const [key, words] of Object.entries(names)) {
      places[key] = element('dd');
      list.append(element('div', {}, fromHTML('dt', words), places[key]));
    }
    return (values) => Object.entries(values).forEach(([key, value]) => { places[key].textContent = value; });
  }

  // V over all moments of the game that is shown, with a mark at the one that is; a click goes to a different one.
  function valueCurve(root, game, now, steer) {
    const place = root.appendChild(element('div', {onclick: (event) => {
      const box = place.getBoundingClientRect();
      steer.go(Math.round((event.clientX - box.left - 6) / (box.width - 12) * (game().V.length - 1)));
    }}));
    return picture(place, {label: 'V at each moment, with a line at −log 4', ratio: (width) => 90 / width,
                           draw: (context, width, height) => drawValue(context, width, height, game().V, now())});
  }

  function drawValue(context, width, height, V, now) {
    const x = scale(0, V.length - 1, 6, width - 6);
    const y = scale(Math.min(-2, ...V), Math.max(-0.7, ...V), height - 6, 6);
    drawLine(context, [6, width - 6], [y(BLIND), y(BLIND)], {stroke: colour('--best'), width: 1, dash: [4, 4]});
    drawLine(context, V.map((_, i) => x(i)), V.map(y), {stroke: colour('--ink'), width: 1.5});
    context.fillStyle = colour('--D');
    context.beginPath();
    context.arc(x(now), y(V[now]), 4, 0, 2 * Math.PI);
    context.fill();
    context.fillStyle = colour('--muted');
    context.textAlign = 'left';
    context.fillText('V', 6, 12);
    context.textAlign = 'right';
    context.fillText('−log 4', width - 6, y(BLIND) - 4);
  }

  // An arrow by (dx, dy) from a point, in pixels; at most 40 long, and nothing if it would be
  // too short to have a direction.
  function drawArrow(context, x, y, dx, dy) {
    const length = Math.hypot(dx, dy);
    if (length < 3) return;
    const factor = Math.min(1, 40 / length), head = Math.min(5, 0.6 * length);
    const angle = Math.atan2(dy, dx), toX = x + dx * factor, toY = y + dy * factor;
    context.strokeStyle = context.fillStyle = colour('--ink');
    context.lineWidth = 1.25;
    context.beginPath();
    context.arc(x, y, 1, 0, 2 * Math.PI);
    context.fill();
    context.beginPath();
    context.moveTo(x, y);
    context.lineTo(toX, toY);
    for (const side of [2.6, -2.6]) {
      context.moveTo(toX, toY);
      context.lineTo(toX + head * Math.cos(angle + side), toY + head * Math.sin(angle + side));
    }
    context.stroke();
  }
};
