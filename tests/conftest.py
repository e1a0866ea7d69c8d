"""Options for all tests."""


def pytest_addoption(parser):
    parser.addoption(
        "--regenerate", action="store_true", help="rewrite the generated parts of documents instead of comparing them"
    )
