"""Campaigns of faults: damaged files, kills, full disks, odd places, two at once.

    python -m benchmarks.faults.fits --count 20000 --seed 0 --workers 2

Every input is a pure function of the seed and its number, so what was found once is found again:
``--only NUMBER --folder F`` makes that one input, leaves it in F, and prints its traceback.
"""
