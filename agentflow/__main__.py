"""`python -m agentflow`: the same as the `agentflow` command."""

import sys

from agentflow.cli import main

sys.exit(main())
