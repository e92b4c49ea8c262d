# SPDX-License-Identifier: LGPL-2.1-or-later
"""Say how tests went, in TAP."""

import importlib.util
import sys


def need(*modules, typelibs=()):
    """Skip the whole program where a module of others, or a typelib, lacks.

    Our own modules are none of them: where one cannot be imported, tests fail.
    """
    missing = [name for name in modules if not importlib.util.find_spec(name)]
    if typelibs and not missing:
        import gi

        for name in typelibs:
            try:
                gi.require_version(name, "1.0")
            except ValueError as error:
                missing.append(str(error))
    if missing:
        print("1..0 # SKIP missing:", ", ".join(missing))
        sys.exit(0)


def run(tests):
    """Run the functions test_...; return the exit status.

    A test fails by raising and skips itself by returning why.
    """
    failed = 0
    print(f"1..{len(tests)}", flush=True)
    for number, test in enumerate(tests, 1):
        name = test.__name__[len("test_"):].replace("_", " ")
        try:
            skip = test()
        except Exception as error:  # any: the next tests say more
            failed += 1
            print(f"not ok {number} - {name}: {type(error).__name__}",
                  str(error).replace("\n", " "), flush=True)
        else:
            print(f"ok {number} - {name}" + (f" # SKIP {skip}" if skip else ""),
                  flush=True)
    return 1 if failed else 0


def report(checks):
    """Print (name, whether it passed) as they come; return the exit status."""
    results = []
    for name, passed in checks:
        results.append(bool(passed))
        print(f"{'ok' if passed else 'not ok'} {len(results)} - {name}",
              flush=True)
    print(f"1..{len(results)}")
    return 0 if all(results) else 1


def checks_of(tests, *arguments):
    """Yield what the functions test_... yield, named after them."""
    for test in tests:
        for name, passed in test(*arguments):
            yield f"{test.__name__[len('test_'):]}: {name}", passed
