"""Measure what JSON parameters of notebook 03a ask for, without a notebook, and print the record of each point."""

import json
import sys

from inferkit.measure.measure import measure
from inferkit.plan.build import plan
from inferkit.records.params import StorageToHost

if __name__ == "__main__":
    for run in measure(plan(StorageToHost.check(json.loads(sys.argv[1])))):
        print(json.dumps(run.to_dict()))  # noqa: T201
