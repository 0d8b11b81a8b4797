// Cards of the operations: equation, code and shapes of each next to its derivative, and a check made for the page.
'use strict';

sections.operations = (root, data) => {
  const all = [...data.operations, ...data.losses];
  root.append(element('nav', {class: 'index', 'aria-label': 'Operations'},
                      ...all.map(({name}) => element('a', {href: `#op-${name}`}, name))),
              ...data.operations.map(card), element('h3', {id: 'losses'}, 'The value of the game, and the losses'),
              ...data.losses.map(card));

  function card({name, layer, functions, how, rows}) {
    const [forward, ...derivatives] = functions;
    const made = element('article', {class: 'operation', id: `op-${name}`}, element('h4', {}, element('code', {}, name)));
    if (layer) made.firstChild.append(element('span', {class: 'note'}, ` computed by the layer ${layer}`));
    made.append(element('div', {class: derivatives.length ? 'pair' : 'pair alone'}, part([forward], 'forward'),
                        part(derivatives, 'derivatives'),
                        check(how, rows, derivatives.length > 0)), ...bugs(functions));
    return made;
  }

  function part(functions, name) {
    return element('div', {class: name}, ...functions.map(({place, code, words, formulas, shapes}) => element('div', {},
      ...formulas.map((formula) => fromHTML('div', formula, {class: 'formula'})),
      fromHTML('pre', `<code>${code}</code>`, {class: 'code', tabindex: 0, 'aria-label': `code, ${place}`}),
      element('p', {class: 'note'}, words && words.replace(/\.?$/, '. '), shapes ? `In this check: ${shapes}. ` : '', place))));
  }

  function check(how, rows, derivative) {
    const heads = ['', derivative ? 'by differences' : 'by the equation', derivative ? 'by the derivative' : 'by the function',
                   'error', ''];
    return element('div', {class: 'scroll checked'}, element('table', {class: 'check'},
      element('caption', {}, derivative ? 'Gradient check: ' : 'It has no derivative, and is compared with ', ...unbroken(how)),
      element('thead', {}, element('tr', {}, ...heads.map((head) => element('th', {scope: 'col'}, head)))),
      element('tbody', {}, ...rows.map(([array, expected, got, error, verdict]) => element('tr', {},
        element('th', {scope: 'row'}, element('code', {}, derivative ? `d${array}` : array)),
        ...[expected, got].map((x) => element('td', {}, digits(x, 8))), element('td', {}, error ? error.toExponential(0) : '0'),
        element('td', {class: verdict}, verdict === 'ok' ? '✓ agree' : verdict))))));
  }

  function bugs(functions) {
    const support = functions.flatMap((found) => found.support);
    return support.length ? [supported('How this code is tested', support)] : [];
  }
};

/* ---- Shared with algorithm.js ---- */

const digits = (x, n) => (!x ? '0' : Math.abs(x) < 1e-3 ? x.toExponential(n - 1) : x.toPrecision(n)).replace('-', '−')
  .replace('e−', 'e-');

// Tests of lines, and the bugs planted in them: the wrong line in place of the line, and the test that catches it.
function supported(title, support) {
  const tests = [...new Set(support.flatMap((found) => found.tests))], bugs = support.flatMap((found) => found.bugs);
  const count = (n, word) => `${n} ${word}${n === 1 ? '' : 's'}`;
  return element('details', {class: 'support'},
    element('summary', {}, `${title}: ${count(tests.length, 'test')}, ${count(bugs.length, 'planted bug')}`),
    ...support.map(({code, bugs}) => element('div', {class: 'bugs'},
      fromHTML('pre', `<code>${code}</code>`, {class: 'code correct'}),
      element('ul', {}, ...bugs.map(({wrong, words, test}) => element('li', {},
        fromHTML('pre', `<code>${wrong}</code>`, {class: 'code wrong'}),
        element('p', {class: 'note'}, `${words[0].toUpperCase()}${words.slice(1)}. Caught by `, element('code', {}, ...named(test)))))))),
    element('p', {class: 'note'}, 'Run them: ', element('code', {}, `pytest ${[...new Set(tests.map(file))].join(' ')}`)));
}

const file = (test) => test.split('::')[0];
// The name of a test, in which a line may break after each _ but from which nothing else is copied.
const named = (test) => test.split('::')[1].split(/(?<=_)/).flatMap((part) => [part, element('wbr')]);
