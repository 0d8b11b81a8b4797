// Algorithm 1: each line of the paper next to its code and to what it produced at the step that the slider chooses.
'use strict';

sections.algorithm = (root, data) => {
  const steps = data.pictures.map((arrays) =>
    Object.fromEntries(Object.entries(arrays).map(([name, packed]) => [name, decode(packed)])));
  const updates = [];  // functions that show the present step
  let now = 0;

  /* ---- The whole ---- */

  function overview() {
    const loop = element('div', {class: 'row'}, element('span', {class: 'paper'}, 'for number of training iterations do'),
                         element('code', {}, 'game.step(t)'));
    return element('div', {class: 'overview'}, loop, ...data.lines.map((i) => {
      const {paper, code, depth} = data.nodes[i];
      const said = element('span', {class: 'paper'}, ...paperOf(paper));
      said.style.paddingLeft = `${1.5 * (depth + 1)}rem`;
      return element('a', {class: 'row', href: `#line-${i}`}, said, fromHTML('code', code));
    }));
  }

  const paperOf = (paper) => paper ? [paper.words, ...paper.formulas.map((html) => fromHTML('span', html, {class: 'formula'}))]
                                   : [];

  function run() {
    const {m, n_z, k, last, nets, command} = data.about, figure = element('figure');
    figure.append(element('p', {}, `The run below has ${last.toLocaleString('en')} steps with m = ${m}, k = ${k} and ` +
      `z of width ${n_z}. These were recorded line by line: ${data.steps.map((t) => t.toLocaleString('en')).join('; ')}.`));
    figure.append(element('ul', {class: 'note'}, ...nets.map((net) => element('li', {}, ...unbroken(net)))));
    figure.append(element('p', {}, 'To read the step that the slider shows in a terminal: ',
      live(element('code', {}), () => `${command} ${data.steps[now]}`)));
    updates.push(picture(figure, {label: "D's mean answers for data and for samples over the run", ratio: (w) => 150 / w,
                                  draw: drawRun}));
    figure.append(element('figcaption', {class: 'note'}, "D's mean answer for each minibatch of data and of samples, over " +
      'all steps. The axis grows by powers of ten, and the bar is the step that the slider shows.'));
    return figure;
  }

  function drawRun(context, width, height) {
    const answers = decode(data.answers), last = data.about.last, place = (t) => Math.log10(t + 1);
    const x = scale(0, place(last), 30, width - 8), y = scale(0, 1, height - 20, 6);
    context.fillStyle = colour('--muted');
    context.textAlign = 'right';
    [0, 0.5, 1].forEach((value) => context.fillText(value, 24, y(value) + 4));
    context.textAlign = 'center';
    [0, 1, 10, 100, 1000].filter((t) => t < last).forEach((t) => context.fillText(t, x(place(t)), height - 4));
    drawLine(context, [30, width - 8], [y(0.5), y(0.5)], {stroke: colour('--rule'), width: 1});
    const at = x(place(data.steps[now]));
    drawLine(context, [at, at], [y(0), y(1)], {stroke: colour('--accent'), width: 2});
    ['--data', '--samples'].forEach((name, i) => {
      const shown = [...answers.at(i)];
      drawLine(context, shown.map((_, t) => x(place(t))), shown.map(y), {stroke: colour(name), width: 1.25});
      context.fillStyle = colour(name);
      context.textAlign = 'right';
      context.fillText(['D(x)', 'D(G(z))'][i], width - 8 - 60 * (1 - i), 16);
    });
  }

  /* ---- A line of the paper ---- */

  function block(i) {
    const node = data.nodes[i], code = node.code;
    const said = element('div', {class: 'said'},
      element('p', {class: 'paper'}, ...paperOf(node.paper)), codeOf(node), element('p', {}, node.words));
    if (code.includes('update_')) said.append(flow(node));
    const shown = element('div', {class: 'shown'});
    if (code.includes('update_D')) updateD(shown);
    else if (code.includes('update_G')) updateG(shown, said);
    else if ('z' in node.shapes) noise(shown, code.includes('self.k)') ? 'z_G' : 'z', node.shapes.z);
    else if ('x' in node.shapes) tiles(shown, 'x', `x ${shapeOf(node.shapes.x)}: ${data.about.m} images as rows of ${data.about.n} pixels`);
    else shown.append(element('p', {class: 'note'}, `k = ${data.about.k} in this run.`));
    const made = element('article', {class: 'line', id: `line-${i}`}, element('div', {class: 'sides'}, said, shown));
    if (code.includes('update_')) made.append(gradient(node));
    made.style.marginLeft = `${1.5 * node.depth}rem`;
    const inside = node.inside.filter((child) => data.nodes[child].kind === 'line');
    if (inside.length) {
      const method = data.nodes[inside[0]].method;
      made.append(element('details', {class: 'inside'},
        element('summary', {}, `Inside ${method}: ${inside.length} statements, with each layer's shapes and numbers`),
        ...inside.map(statement)));
    }
    made.append(...supports(node));
    return made;
  }

  const codeOf = ({code, place}) => element('div', {class: 'source'},
    fromHTML('pre', `<code>${code}</code>`, {class: 'code', tabindex: 0, 'aria-label': `code, ${place}`}),
    element('span', {class: 'note'}, place));

  const supports = ({support}) => support.length ? [supported('How this line is tested', support)] : [];

  function noise(shown, name, shape) {
    figureOf(shown, `z ${shapeOf(shape)}: each row is the noise of one sample`, 'noise as an image', () => 0.27, (context, width, height) => {
      const {values, shape: [rows, columns]} = steps[now][name];
      context.imageSmoothingEnabled = false;
      context.drawImage(bitmap(values, rows, columns, signed(3)), 0, 0, width, height);
    });
    figureOf(shown, `The ${shape.replace('×', ' · ')} numbers are normal, with mean 0 and variance 1. The axis goes from −3 to 3`,
             'histogram of z', (w) => 56 / w, (context, width, height) =>
      drawHistogram(context, counted(steps[now][name].values, -3, 3, 61), {x: 0, y: 0, width, height, fill: colour('--muted')}));
  }

  /* ---- Shapes ---- */

  // A shape in letters and in numbers, such as (m, n_z) = 50×100. Rows belong to the minibatch.
  function shapeOf(shape) {
    const {m, n_z, n} = data.about, [rows, columns] = shape.split('×');
    return `(${{[m]: 'm', [2 * m]: '2m'}[rows]}, ${{[n_z]: 'n_z', [n]: 'n', 1: '1'}[columns]}) = ${shape}`;
  }

  // What an update makes of its minibatch, in the order in which it is made, with shapes.
  function flow(node) {
    const of = (kind, net) => within(node).filter((call) => call.kind === kind && call.net === net);
    const [G, D, throughD, throughG] = [of('forward', 'G'), of('forward', 'D'), of('backward', 'D'), of('backward', 'G')];
    const logits = D.at(-1).shapes.y, {m, n, n_z} = data.about;
    const x = data.nodes.find(({kind, shapes}) => kind === 'line' && shapes.x).shapes.x;
    const shapes = throughG.length
      ? {z: G[0].shapes.x, samples: G.at(-1).shapes.y, 'logits: fake': logits, dlogits: throughD[0].shapes.dy,
         dsamples: throughG[0].shapes.dy}
      : {x, z: G[0].shapes.x, samples: G.at(-1).shapes.y, 'stack(x, samples)': D[0].shapes.x, logits,
         'real, fake': node.shapes.fake, dlogits: throughD[0].shapes.dy};
    return table(`Shapes in this update: m = ${m}, n = ${n}, n_z = ${n_z}`, [], Object.entries(shapes).map(([name, shape]) =>
      element('tr', {}, element('th', {scope: 'row'}, name), element('td', {}, shapeOf(shape)))), 'shapes');
  }

  /* ---- The two updates ---- */

  function updateD(shown) {
    const sides = shown.appendChild(element('div', {class: 'two'}));
    tiles(sides, 'x', 'Examples x', 'real', '--data');
    tiles(sides, 'samples', 'Samples G(z)', 'fake', '--samples');
    answers(shown, [['D(x)', 'real', '--data'], ['D(G(z))', 'fake', '--samples']]);
    values(shown, [['V', (value) => -value, lossOf('L_D')], ['L_D', (value) => value, lossOf('L_D')]]);
  }

  function updateG(shown, said) {
    const sides = shown.appendChild(element('div', {class: 'two'}));
    tiles(sides, 'samples_G', 'New samples G(z)', 'fake_G', '--samples');
    gradients(sides);
    answers(shown, [['D(G(z))', 'fake_G', '--samples']]);
    const loss = data.nodes.find(({kind, of}) => kind === 'loss' && of.startsWith('L_G'));
    values(shown, [[loss.of, (value) => value, loss]]);
    if (loss.of === 'L_G_nonsaturating') {
      said.append(element('p', {class: 'note'}, 'This run descends the loss that section 3 of the paper recommends: the ' +
        'same fixed point, but a strong gradient while D still tells samples from data:'),
                  fromHTML('div', data.recommended, {class: 'formula'}));
    }
  }

  // The backward passes of an update, layer by layer, and what Adam made of the derivatives.
  function gradient(node) {
    const [way, moved] = [element('div', {class: 'scroll'}), element('div')];
    const calls = within(node).filter(({kind}) => kind === 'backward');
    const through = calls.some(({net}) => net === 'G') ? 'through D, which stays, into G' : 'through D';
    way.append(backwards(calls, `The gradient flows back ${through}, layer by layer. The first dy is dlogits, the derivative of the loss`));
    adam(moved, node);
    return element('div', {class: 'wide'}, way, moved);
  }

  const lossOf = (name) => data.nodes.find(({kind, of}) => kind === 'loss' && of === name);

  // Images in a grid, with a bar below each: D's answer.
  function tiles(shown, name, caption, answer, fill) {
    const more = answer ? '. The bar below each is D\'s answer' : '';
    grid(shown, caption + more, name, () => (value) => Array(3).fill(Math.round(255 * value)), answer, fill);
  }

  function gradients(shown) {
    const full = () => 3 * Math.sqrt(mean(steps[now].dsamples.values.map((value) => value ** 2)));
    const figure = grid(shown, 'derivative of L_G with respect to each sample', 'dsamples', () => signed(full()));
    live(figure.querySelector('figcaption'), () => 'dsamples: the derivative of L_G with respect to each sample. Orange: a brighter pixel would ' +
      `lower L_G. Blue: it would raise L_G. Full colour: ±${digits(full(), 2)}`);
  }

  function grid(shown, caption, name, shade, answer, fill) {
    const columns = 10, gap = 3, foot = answer ? 4 : 0, lines = Math.ceil(data.about.m / columns);
    const size = (width) => (width - gap * (columns - 1)) / columns;
    return figureOf(shown, caption, caption, (width) => lines * (size(width) + gap + foot) / width, (context, width) => {
      const images = steps[now][name], [n, rows, pixels] = images.shape, side = size(width), of = shade();
      context.imageSmoothingEnabled = Boolean(answer) || name === 'x';  // digits are easier to read without edges
      for (let i = 0; i < n; i++) {
        const x = (i % columns) * (side + gap), y = Math.floor(i / columns) * (side + gap + foot);
        context.drawImage(bitmap(images.at(i), rows, pixels, of), x, y, side, side);
        if (!answer) continue;
        context.fillStyle = colour('--rule');
        context.fillRect(x, y + side + 1, side, 3);
        context.fillStyle = colour(fill);
        context.fillRect(x, y + side + 1, side * steps[now][answer].values[i], 3);
      }
    });
  }

  // Histograms of D's answers, with their means.
  function answers(shown, which) {
    figureOf(shown, "D's answers, from 0 (a sample) to 1 (data). The lines are the means", "histograms of D's answers",
             (width) => 130 / width, (context, width, height) => {
      const left = 4, right = width - 4, bottom = height - 18, bins = 40;
      const counts = which.map(([, name]) => counted(steps[now][name].values, 0, 1, bins));
      const top = Math.max(...counts.flat());
      which.forEach(([said, name, fill], i) => {
        context.globalAlpha = 0.55;
        drawHistogram(context, counts[i], {x: left, y: 18, width: right - left, height: bottom - 18, top, fill: colour(fill)});
        context.globalAlpha = 1;
        const average = mean(steps[now][name].values), x = left + average * (right - left);
        drawLine(context, [x, x], [14, bottom], {stroke: colour(fill), width: 2});
        context.fillStyle = colour(fill);
        context.textAlign = i ? 'right' : 'left';
        context.fillText(`${said}: mean ${fixed(average, 2)}`, i ? right : left, 10);
      });
      context.fillStyle = colour('--muted');
      [[0, 'left', left], [0.5, 'center', (left + right) / 2], [1, 'right', right]].forEach(([value, align, x]) => {
        context.textAlign = align;
        context.fillText(value, x, height - 4);
      });
      drawLine(context, [left, right], [bottom, bottom], {stroke: colour('--rule'), width: 1});
    });
  }

  // Values and losses: the equation of each, and its value before and after the update.
  function values(shown, rows) {
    shown.append(element('dl', {class: 'values'}, ...rows.flatMap(([name, map, loss]) => [
      element('dt', {}, fromHTML('a', data.losses[name] ?? name, {href: `#op-${name}`, class: 'formula', 'aria-label': name})),
      live(element('dd'), () => `${fixed(map(loss.values[now].before), 3)} before the update, ` +
        `${fixed(map(loss.values[now].after), 3)} after it`)])),
      element('p', {class: 'note'}, (rows[0][0] === 'V' ? `Where D says 1/2 for everything, V is −log 4 = −1.386. The label ` +
        `smoothing s is ${data.about.smoothing}. ` : '') + 'Before and after: for the same minibatch, noise and dropout.'));
  }

  // What Adam moved: words, and a histogram of |change| in units of the rate.
  function adam(shown, node) {
    const call = within(node).find(({kind}) => kind === 'optimizer'), value = () => call.values[now];
    const peak = data.about.peaks[call.net];
    const words = element('p', {class: 'note'});
    shown.append(words);
    live(words, () => `${call.of} moves ${value().moved.toLocaleString('en')} of ${call.size.toLocaleString('en')} ` +
      `parameters of ${call.net}. |dtheta| ${digits(value().gradient, 3)}; |change| ${digits(value().norm, 3)}; rate ` +
      `${digits(value().settings.learning_rate, 3)} (it rises to ${digits(peak.rate, 3)} by step ${peak.t}, then falls to 0); largest change ` +
      `${digits(value().largest, 3)} = ${fixed(value().largest / value().settings.learning_rate, 2)} × rate.`);
    const figure = figureOf(shown, '', 'histogram of changes', (width) => 60 / width, (context, width, height) => {
      drawHistogram(context, value().counts, {x: 0, y: 0, width, height: height - 16, fill: colour('--accent')});
      context.fillStyle = colour('--muted');
      [0, 1, 2, 3].forEach((rates) => {
        context.textAlign = ['left', 'center', 'center', 'right'][rates];
        context.fillText(rates, rates * width / 3, height - 2);
      });
    });
    live(figure.querySelector('figcaption'), () => '|change| of each parameter in units of the rate; the last bar is 3 or more.' +
      (data.steps[now] === 0 ? ' The first step of Adam moves each by about one rate.' : ''));
  }

  /* ---- Inside ---- */

  function statement(i) {
    const node = data.nodes[i], made = element('div', {class: 'statement'}, codeOf(node));
    if (node.words) made.append(element('p', {}, node.words));
    for (const [name, shape] of Object.entries(node.shapes)) {
      made.append(live(element('p', {class: 'note'}), () => {
        const [average, spread, least, largest] = node.values[now][name] ?? [];
        return average === undefined ? '' : `${name} ${shapeOf(shape)}: mean ${digits(average, 3)}, spread ${digits(spread, 3)}, ` +
          `from ${digits(least, 3)} to ${digits(largest, 3)}`;
      }));
    }
    const children = node.inside.map((child) => data.nodes[child]);
    const inner = element('div', {class: 'calls'});
    for (let at = 0; at < children.length; at++) {
      const {kind, net} = children[at];
      if (kind === 'line') inner.append(statement(node.inside[at]));
      if (kind === 'loss') values(inner, [[children[at].of, (value) => value, children[at]]]);
      if (kind === 'optimizer') adam(inner, node);
      if (kind === 'forward' || kind === 'backward') {
        let end = at;
        while (children[end + 1]?.kind === kind && children[end + 1].net === net) end++;
        const calls = children.slice(at, end + 1), table = kind === 'forward' ? forwards : backwards;
        inner.append(element('div', {class: 'scroll'}, table(calls, `${net} ${kind}, layer by layer`)));
        at = end;
      }
    }
    if (children.length) made.append(inner);
    made.append(...supports(node));
    return made;
  }

  const layer = ({net, place, of, operation}) => element('th', {scope: 'row'}, `${net} ${place.split('.').filter((_, i) => i % 2 === 0).join('.')} `,
    operation ? element('a', {href: `#op-${operation}`}, of) : of);

  // A table; on a narrow screen each cell of one of layers says its head itself.
  function table(caption, heads, rows, kind = 'layers') {
    rows.forEach((row) => heads.forEach((head, i) => { if (i) row.children[i].dataset.head = head; }));
    return element('table', {class: `check ${kind}`}, element('caption', {}, caption),
      element('thead', {}, element('tr', {}, ...heads.map((head) => element('th', {scope: 'col'}, head)))),
      element('tbody', {}, ...rows));
  }

  function forwards(calls, caption) {
    return table(caption, ['layer', 'x', 'y', 'y, over the range of all steps', 'mean', 'spread'], calls.map((call) => element('tr', {},
      layer(call), element('td', {}, call.shapes.x), element('td', {}, call.shapes.y),
      live(element('td'), () => spark(call.values[now].counts, call.range)),
      ...[0, 1].map((j) => live(element('td'), () => digits(call.values[now].y[j], 3))))));
  }

  function backwards(calls, caption) {
    const top = () => Math.max(...calls.map((call) => call.values[now].dy));
    const left = ({values}) => Object.entries(values[now]).filter(([name]) => !['dy', 'dx'].includes(name))
      .map(([name, norm]) => `${name} ${digits(norm, 2)}`).join(', ');
    return table(caption, ['layer', 'dy', 'dx', '|dy|', '', 'norms of dW, db, ...'], calls.map((call) => element('tr', {},
      layer(call), element('td', {}, call.shapes.dy), element('td', {}, call.shapes.dx ?? 'none'),
      live(element('td', {class: 'bar'}), () => element('span', {style: `width: ${100 * call.values[now].dy / top()}%`})),
      live(element('td'), () => digits(call.values[now].dy, 2)), live(element('td'), () => left(call)))));
  }

  // A small histogram between the least and the largest number of all recorded steps.
  function spark(counts, [least, largest]) {
    const top = Math.max(...counts);
    const bars = counts.map((count, i) => `M${i} 16h0.8v${-16 * count / top}h-0.8z`).join('');
    return fromHTML('span', `<span>${digits(least, 2)}</span><svg viewBox="0 0 ${counts.length} 16" preserveAspectRatio="none" aria-hidden="true"><path d="${bars}"/></svg><span>${digits(largest, 2)}</span>`,
                    {class: 'spark'});
  }

  /* ---- Small things ---- */

  // An element whose content is render() at each step.
  function live(made, render) {
    const update = () => made.replaceChildren(render());
    updates.push(update);
    update();
    return made;
  }

  function figureOf(shown, caption, label, ratio, draw) {
    const figure = shown.appendChild(element('figure'));
    updates.push(picture(figure, {label, ratio, draw}));
    figure.append(element('figcaption', {class: 'note'}, caption));
    return figure;
  }

  function signed(most) {
    const shade = shades('--best', '--middle', '--D');
    return (value) => shade((value / (most || 1) + 1) / 2);
  }

  const within = (node) => node.inside.flatMap((i) => [data.nodes[i], ...within(data.nodes[i])]);
  const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

  function counted(values, low, high, bins) {
    const counts = Array(bins).fill(0);
    values.forEach((value) => counts[Math.min(Math.floor((value - low) / (high - low) * bins), bins - 1)]++);
    return counts;
  }

  /* ---- The section ---- */

  root.append(overview(), run(), ...data.lines.map(block));
  const steer = root.appendChild(element('div', {class: 'steer'}));
  const score = live(element('span', {class: 'score'}), () => `D(x) ${fixed(mean(steps[now].real.values), 2)}   ` +
    `D(G(z)) ${fixed(mean(steps[now].fake.values), 2)}   V ${fixed(-lossOf('L_D').values[now].before, 3)}`);
  const {box} = player(steer, {label: 'Algorithm 1', names: data.steps.map((t) => `step ${t.toLocaleString('en')}`),
                               rate: 1, show(i) { now = i; updates.forEach((update) => update()); }});
  box.append(score);
};
