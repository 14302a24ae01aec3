"""Measure what JSON parameters of a notebook ask for, without a notebook, and print the record of each point.

``python -m tests.faults.alone PARAMETERS [NOTEBOOK]``; 03a where none is named.
"""

import json
import sys

from inferkit.measure.measure import measure
from inferkit.plan.build import plan
from inferkit.records.params import MEASURING

if __name__ == "__main__":
    model = MEASURING[(sys.argv[2:] or ["03a"])[0]]
    for run in measure(plan(model.check(json.loads(sys.argv[1])))):
        print(json.dumps(run.to_dict()))  # noqa: T201
