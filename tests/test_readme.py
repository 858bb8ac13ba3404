"""No command of the README goes unrun: tests/test_whole_product.py runs them in a checkout of their own."""

import re

from product_lab import README, readme_blocks

from feature_repo.settings import PROJECT_ROOT
from stack.run import runnable

RUN_WHOLE = {"Bring your own data", "Declare a feature", "Ask it"}
"""Sections of which every block is run, by the fixture `product` and by tests/test_whole_product.py."""

NOT_RUN = {
    "from plumbline import FeatureStore, aggregate, as_of, windowed_view": "a fragment; tests/test_any_feast_repo.py runs the "
    "whole of it, examples/any_feast_repo, in a stock Feast environment",
}
"""First line of a block -> why it is not run."""


def test_every_block_of_code_is_run_or_listed_with_a_reason():
    code = [block for block in readme_blocks() if block.language in ("sh", "python")]

    assert {block.language for block in readme_blocks()} == {"sh", "python", "yaml"}
    assert [block.first_line for block in code if block.section not in RUN_WHOLE] == list(NOT_RUN)
    assert {block.section for block in code} >= RUN_WHOLE


def test_exactly_the_targets_that_are_not_built_are_said_to_be():
    section = README.read_text().partition("## What is not there yet")[2]
    programs = re.findall(r"^\t@\$\(RUN\) (\S+) (\S+)", (PROJECT_ROOT / "Makefile").read_text(), re.MULTILINE)

    said = set(re.findall(r"`make ([a-z-]+)`", section))

    assert said == {target for target, module in programs if not runnable(module)}
