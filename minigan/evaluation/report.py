"""The result of judge.evaluate, as text."""

from minigan.evaluation import modes

TITLES = {  # measure -> its name in print
    'parzen': 'Parzen log-likelihood', 'parzen_standard_error': '   its standard error', 'parzen_sigma': '   its sigma',
    'frechet': "Frechet distance in our classifier's features", 'score': 'classifier score', 'kl': 'KL of the classes',
    'precision': 'precision', 'recall': 'recall', 'density': 'density', 'coverage': 'coverage',
    'memorisation': 'distance to training images, over that of test images'}
OF_CLASSES = {  # of a conditional run
    'class_accuracy': 'fraction of the wanted class', 'class_recall': 'recall within a class, mean over classes',
    'least_class_recall': '   of the class with the smallest'}


def table(result):
    """A table with a row for each measure and class, and a column for the samples and for each comparison."""
    columns = {name: column for name, column in result['columns'].items() if column}
    lines = [f"{result['checkpoint']}, step {result['step']}: {result['samples']} samples against the "
             f"{result['test_images']} test images of {result['data']}", '', _line('', columns)]
    for measure, title in (TITLES | OF_CLASSES | modes.TITLES).items():
        numbers = [column.get(measure) for column in columns.values()]
        if any(number is not None for number in numbers):
            lines.append(_line(title, map(_cell, numbers)))
    for i in range(len(columns['samples'].get('histogram', []))):
        numbers = [column['histogram'][i] if 'histogram' in column else None for column in columns.values()]
        lines.append(_line(f'fraction of class {i}', map(_cell, numbers)))
    if result['classifier_accuracy'] is not None:
        lines += ['', f"The classifier, {result['classifier']}, built from minigan's own layers, has an accuracy of "
                      f"{result['classifier_accuracy']:.2%} on the test images."]
    if result['D_errors'] is not None:
        lines += ['', f"D, which is a classifier too, misclassifies {result['D_errors']} of the test images."]
    for reason in dict.fromkeys(result['left_out'].values()):
        titles = [TITLES[measure] for measure, why in result['left_out'].items() if why == reason]
        lines += ['', f'Left out, because {reason}: {"; ".join(titles)}.']
    return '\n'.join(lines)


def _line(title, cells):
    return f'{title:54}' + ''.join(f'{cell:>13}' for cell in cells)


def _cell(number):
    return '' if number is None else f'{number:.3f}' if isinstance(number, float) else str(number)
