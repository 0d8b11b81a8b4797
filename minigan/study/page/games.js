// The game on a line and in the plane: pictures of the recorded moments, with what to watch for.
'use strict';

sections.games = (root, data) => {
  const ARROWS = 'how G would move samples';
  const BLIND = -Math.log(4);  // V where D says 1/2 for everything
  const LOSSES = {'−log D(G(z)): section 3': 0, 'log(1 − D(G(z))): Algorithm 1': 1};

  line(root.querySelector('#line-figure'), unpacked(data.line));
  plane(root.querySelector('#plane-figure'), data.plane);

  /* ---- On a line ---- */

  function line(figure, game) {
    let now = 0, shown, loss, redraw = () => {};
    const again = () => redraw();
    const canvas = element('div'), below = element('div');
    shown = legend(figure, {
      p_data: ['data, p<sub>data</sub>', '--data', 'dotted'], p_g: ['samples, p<sub>g</sub>', '--samples', 'solid'],
      D: ['D', '--D', 'dashed'], D_star: ['D*, the best D', '--best', 'solid'], arrows: [ARROWS, '--ink', 'arrow']}, again);
    figure.append(canvas);
    const tell = numbers(below, {V: 'V (−log 4 = −1.386)', D_x: 'mean D(x), data', D_G_z: 'mean D(G(z)), samples',
                                 covered: 'overlap of p<sub>g</sub> and p<sub>data</sub>'});
    const watch = element('p', {class: 'watch', role: 'status'});
    const steer = player(figure, {label: 'The game on a line', names: game.t.map((t) => `step ${t}`), show(i) {
      now = i;
      say(watch, game.words[i]);
      tell({V: fixed(game.V[i], 3), D_x: fixed(game.D_x[i], 2), D_G_z: fixed(game.D_G_z[i], 2),
            covered: `${Math.round(100 * game.covered[i])} %`});
      redraw();
    }});
    figure.append(watch, below);
    loss = chooser(below, 'Arrows show how G descends', LOSSES, again);
    const curve = valueCurve(below, game, () => now, steer);
    const drawing = picture(canvas, {
      label: 'Curves of p_data, p_g, D and D* over x; arrows of the gradient; lines from z to x = G(z)',
      ratio: (width) => Math.max(0.5, 1.3 - width / 900),
      draw: (context, width, height) => drawLineGame(context, width, height, game, now, shown, loss.value)});
    redraw = () => { drawing(); curve(); };
    redraw();
  }

  function drawLineGame(context, width, height, game, now, shown, loss) {
    const left = 34, right = width - 10, zHeight = Math.max(70, 0.2 * height), arrows = 44;
    const bottom = height - zHeight - arrows - 22, top = 8;
    const [low, high] = game.x, n = game.p_data.values.length;
    const x = scale(low, high, left, right), y = scale(0, 1.2, bottom, top);
    const grid = Array.from({length: n}, (_, i) => x(low + (high - low) * i / (n - 1)));
    axes(context, {left, right, top, bottom, x, y, ticks: [0, 0.5, 1], numbers: [-4, -2, 0, 2, 4], half: y(0.5),
                   label: bottom + arrows + 12});

    context.save();
    context.beginPath();
    context.rect(left, top, right - left, height);
    context.clip();
    const at = (name) => [...game[name].at(now)];
    if (shown.p_g.checked) {
      context.globalAlpha = 0.25;
      drawHistogram(context, at('histogram'), {x: left, y: top, width: right - left, height: bottom - top, top: 1.2,
                                               fill: colour('--samples')});
      context.globalAlpha = 1;
      drawLine(context, grid, at('p_g').map((p) => y(p)), {stroke: colour('--samples'), width: 2});
    }
    if (shown.p_data.checked) {
      drawLine(context, grid, [...game.p_data.values].map((p) => y(p)), {stroke: colour('--data'), width: 2.5, dash: [2, 4]});
    }
    if (shown.D_star.checked) {
      const p_g = at('p_g'), best = at('D_star').map((D, i) => (game.p_data.values[i] + p_g[i] > 0.004 ? y(D) : NaN));
      drawPieces(context, grid, best, {stroke: colour('--best'), width: 1.75});
    }
    if (shown.D.checked) drawLine(context, grid, at('D').map((D) => y(D)), {stroke: colour('--D'), width: 2.25, dash: [8, 5]});
    const samples = at('samples'), places = samples.filter((_, i) => i % 2 === 0);
    if (shown.arrows.checked) {
      const moves = game.moves.at(now).subarray(loss * places.length, (loss + 1) * places.length);
      places.forEach((place, i) => drawArrow(context, x(place), bottom + 9 + 7 * (i % 5), 70 * moves[i], 0));
    }
    drawMap(context, samples, game.z.values, x, height - zHeight, height - 14);
    context.restore();
    context.fillStyle = colour('--muted');
    context.textAlign = 'left';
    context.fillText('x', 8, height - zHeight + 4);
    context.fillText('z', 8, height - 10);
  }

  function axes(context, {left, right, top, bottom, x, y, ticks, numbers, half, label}) {
    context.fillStyle = colour('--muted');
    context.textAlign = 'right';
    ticks.forEach((tick) => context.fillText(String(tick), left - 8, y(tick) + 4));
    context.textAlign = 'center';
    numbers.forEach((number) => context.fillText(fixed(number, 0), Math.min(Math.max(x(number), left + 8), right - 8), label));
    drawLine(context, [left, right], [bottom, bottom], {stroke: colour('--muted'), width: 1});
    drawLine(context, [left, right], [half, half], {stroke: colour('--rule'), width: 1});
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
    const edge = colour('--muted');
    drawLine(context, [x(-4), x(4)], [top, top], {stroke: edge, width: 1});
    drawLine(context, [x(z[0]), x(z[z.length - 1])], [bottom, bottom], {stroke: edge, width: 1});
    samples.forEach((sample, i) => {
      drawLine(context, [x(z[i]), x(sample)], [bottom, top], {stroke: colour('--samples'), width: 1});
    });
  }

  /* ---- In the plane ---- */

  function plane(figure, data) {
    const plays = Object.fromEntries(Object.entries(data.plays).map(([name, play]) => [name, unpacked(play)]));
    const real = decode(data.data), names = Object.keys(plays);
    let now = 0, redraw = () => {}, play = plays[names[0]], steer;
    const again = () => redraw();
    const name = (play) => `learning rate ${play.rate}, beta1 ${play.beta1}`;
    const side = element('div', {class: 'side'}), left = element('div'), right = element('div'), settings = element('div', {class: 'settings'});
    side.append(left, right);
    figure.append(settings, side);
    const recording = chooser(settings, 'Adam', Object.fromEntries(names.map((key) => [name(plays[key]), key])), () => {
      play = plays[recording.value];
      steer.go(now);
    });
    const surface = chooser(settings, 'Colours show', {'D': 'D', 'D*, the best D': 'D_star'}, again);
    const canvas = left.appendChild(element('div'));
    left.append(element('div', {class: 'scale'}, '0: a sample', element('span'), '1: data'));
    const shown = legend(left, {data: ['data', '--data', 'dots'], samples: ['samples', '--samples', 'dots'],
                                arrows: [ARROWS, '--ink', 'arrow']}, again);
    const watch = element('p', {class: 'watch', role: 'status'});
    let tell = () => {};
    steer = player(left, {label: 'The game in the plane', names: play.t.map((t) => `step ${t}`), show(i) {
      now = i;
      say(watch, play.words[i]);
      tell({modes: `${play.modes[i]} of 8`, near: `${Math.round(100 * play.near[i])} %`, V: fixed(play.V[i], 3),
            D_x: fixed(play.D_x[i], 2), D_G_z: fixed(play.D_G_z[i], 2)});
      redraw();
    }});
    right.append(watch);
    tell = numbers(right, {modes: 'modes found', near: 'samples near a mode', V: 'V (−log 4 = −1.386)',
                           D_x: 'mean D(x), data', D_G_z: 'mean D(G(z)), samples'});
    const loss = chooser(right, 'Arrows show how G descends', LOSSES, again);
    const curve = valueCurve(right, () => play, () => now, steer);
    const drawing = picture(canvas, {
      label: 'The plane with data, samples, the answers of D as colours, and arrows of the gradient', ratio: 1,
      draw: (context, width) => drawPlane(context, width, data, play, now, real, shown, surface.value, loss.value)});
    redraw = () => { drawing(); curve(); };
    steer.go(0);
  }

  function drawPlane(context, width, data, play, now, real, shown, surface, loss) {
    const [low, high] = data.x, x = scale(low, high, 0, width), y = scale(low, high, width, 0);
    context.drawImage(bitmap(play[surface].at(now), data.side, data.side, shades('--low', '--middle', '--high')), 0, 0, width, width);
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
    if (shown.arrows.checked) {
      const n = play.moves.shape[2], moves = play.moves.at(now).subarray(2 * loss * n, 2 * (loss + 1) * n);
      for (let i = 0; i < n; i++) {
        drawArrow(context, x(samples[2 * i]), y(samples[2 * i + 1]), 60 * moves[2 * i], -60 * moves[2 * i + 1]);
      }
    }
  }

  /* ---- Both ---- */

  // A copy of a recorded game in which packed arrays are decoded.
  function unpacked(game) {
    return Object.fromEntries(Object.entries(game).map(([name, entry]) => [name, entry?.bytes ? decode(entry) : entry]));
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

  // V over all moments, with a mark at the one that is shown; a click goes to another one.
  function valueCurve(root, game, now, steer) {
    const of = typeof game === 'function' ? game : () => game;
    const place = root.appendChild(element('div', {onclick: (event) => {
      const box = place.getBoundingClientRect();
      steer.go(Math.round((event.clientX - box.left - 6) / (box.width - 12) * (of().V.length - 1)));
    }}));
    return picture(place, {label: 'V at each moment, with a line at −log 4', ratio: (width) => 90 / width, draw(context, width, height) {
      const V = of().V, x = scale(0, V.length - 1, 6, width - 6);
      const y = scale(Math.min(-2, ...V), Math.max(-0.7, ...V), height - 6, 6);
      drawLine(context, [6, width - 6], [y(BLIND), y(BLIND)], {stroke: colour('--best'), width: 1, dash: [4, 4]});
      drawLine(context, V.map((_, i) => x(i)), V.map(y), {stroke: colour('--ink'), width: 1.5});
      context.fillStyle = colour('--D');
      context.beginPath();
      context.arc(x(now()), y(V[now()]), 4, 0, 2 * Math.PI);
      context.fill();
      context.fillStyle = colour('--muted');
      context.textAlign = 'left';
      context.fillText('V', 6, 12);
      context.textAlign = 'right';
      context.fillText('−log 4', width - 6, y(BLIND) - 4);
    }});
  }

  // An arrow by (dx, dy) from a point, in pixels; at most 40 long, and a dot if there is nothing to show.
  function drawArrow(context, x, y, dx, dy) {
    const length = Math.hypot(dx, dy), factor = Math.min(1, 40 / length), head = Math.min(5, 0.6 * length);
    const angle = Math.atan2(dy, dx), toX = x + dx * factor, toY = y + dy * factor;
    context.strokeStyle = context.fillStyle = colour('--ink');
    context.lineWidth = 1.25;
    context.beginPath();
    context.arc(x, y, 1, 0, 2 * Math.PI);
    context.fill();
    if (length < 0.5) return;
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
