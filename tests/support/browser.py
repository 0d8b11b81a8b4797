"""Debian's Chromium without a window, network services or WebGL, for tests of a page."""

import json
import shutil
from contextlib import contextmanager

ARGUMENTS = ('--headless=new', '--no-sandbox', '--disable-gpu', '--disable-3d-apis', '--disable-background-networking',
             '--disable-component-update', '--disable-sync', '--no-first-run', '--hide-scrollbars')


def missing():
    """Why no browser can be started here, or None."""
    for name in ('chromium', 'chromedriver'):
        if not shutil.which(name):
            return f'{name} is not installed (Debian: apt-get install chromium chromium-driver)'
    try:
        import selenium  # noqa: F401
    except ImportError:
        return 'selenium is not installed'


@contextmanager
def chromium(profile):
    """A driver of Chromium with the folder profile, for the block."""
    from selenium.webdriver import Chrome, ChromeOptions
    from selenium.webdriver.chrome.service import Service
    options = ChromeOptions()
    options.binary_location = shutil.which('chromium')
    for argument in (*ARGUMENTS, f'--user-data-dir={profile}'):
        options.add_argument(argument)
    options.set_capability('goog:loggingPrefs', {'browser': 'ALL', 'performance': 'ALL'})
    driver = Chrome(options=options, service=Service(shutil.which('chromedriver')))
    try:
        yield driver
    finally:
        driver.quit()


def show(driver, page, *, width=1280, height=900, **features):
    """Open a file in a viewport of this size, as if nothing had happened before.

    features: of the media, such as prefers_color_scheme='dark'.
    """
    for log in ('browser', 'performance'):
        driver.get_log(log)
    driver.execute_script('try { localStorage.clear(); } catch { /* the page before has none */ }')
    driver.execute_cdp_cmd('Emulation.setDeviceMetricsOverride', {
        'width': width, 'height': height, 'deviceScaleFactor': 1, 'mobile': width < 600})
    driver.execute_cdp_cmd('Emulation.setEmulatedMedia', {
        'features': [{'name': name.replace('_', '-'), 'value': value} for name, value in features.items()]})
    driver.get(page.as_uri())


def requested(driver):
    """The addresses that the page has asked for since show, its own included."""
    events = (json.loads(entry['message'])['message'] for entry in driver.get_log('performance'))
    return [event['params']['request']['url'] for event in events if event['method'] == 'Network.requestWillBeSent']
