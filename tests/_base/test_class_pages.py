"""The HTML view of an estimator leads to its page of the API reference."""

import importlib
import re

import pytest
from sklearn.utils import estimator_html_repr

from skdiff._base.compat import DOCUMENTATION
from tests._discovery import all_estimators, default_instance


@pytest.mark.parametrize("cls", all_estimators(), ids=lambda c: c.__name__)
def test_the_view_links_to_the_class_page(cls):
    family = cls.__module__.split(".")[1]
    page = f"{DOCUMENTATION}/api/generated/skdiff.{family}.{cls.__name__}.html"
    estimator = default_instance(cls)
    estimator.__class__ = cls  # not the subclass that scikit-learn's checks take
    assert page in re.findall(r'href="([^"]+)"', estimator_html_repr(estimator))
    # the page is written for the public name, at that module
    assert getattr(importlib.import_module(f"skdiff.{family}"), cls.__name__) is cls
