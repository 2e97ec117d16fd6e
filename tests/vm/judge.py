"""Compares what the machine said with what it was to do: judge.py WANTED LOG.

WANTED has a line for each run of a test program: its name, how many tests it has on this machine,
and how many of them are listed in not-here.txt."""

import re
import sys

RESULT = re.compile(r"^test result: .*?(\d+) passed; (\d+) failed; (\d+) ignored;.*?(\d+) filtered")
END = re.compile(r"^vm: ends (\S+) with (\d+) after (\d+) s")

wanted = [line.split() for line in open(sys.argv[1])]
log = open(sys.argv[2], errors="replace").read().splitlines()

runs, result = [], None
for line in log:
    if found := RESULT.match(line):
        result = [int(number) for number in found.groups()]
    elif found := END.match(line):
        runs.append((found[1], int(found[2]), int(found[3]), result))
        result = None

good = True
total = [0, 0, 0, 0]
print(f"{'':16}{'passed':>8}{'failed':>8}{'ignored':>8}{'not here':>9}{'s':>6}")
for index, (name, tests, not_here) in enumerate(wanted):
    ran = runs[index] if index < len(runs) and runs[index][0] == name else None
    numbers = ran[3] if ran and ran[3] else None
    if numbers is None:
        why = "did not run" if ran is None else f"ended with {ran[1]}, without a result"
        print(f"{name:16}{why}")
        good = False
        continue
    passed, failed, ignored, filtered = numbers
    print(f"{name:16}{passed:8}{failed:8}{ignored:8}{filtered:9}{ran[2]:6}")
    total = [a + b for a, b in zip(total, numbers)]
    complete = passed + failed + ignored == int(tests) - int(not_here)
    if not complete:
        print(f"{name:16}has {tests} tests here, {not_here} of them not to be run there")
    good = good and complete and failed == 0 and ran[1] == 0
print(f"{'together':16}{total[0]:8}{total[1]:8}{total[2]:8}{total[3]:9}")
sys.exit(0 if good else 1)
