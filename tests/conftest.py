"""Hypothesis profiles: `pytest --hypothesis-profile=thorough` tries ten times as many examples."""

from hypothesis import HealthCheck, settings

settings.register_profile('default', max_examples=40, deadline=None, derandomize=True, database=None)
settings.register_profile('thorough', max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile('default')
