"""`python -m balancedit` is the command line."""

import sys

from balancedit.cli.main import main

sys.exit(main())
