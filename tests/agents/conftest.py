import sys
from pathlib import Path

# `cases` is shared by the tests of this folder; importlib mode puts nothing on the path.
sys.path.insert(0, str(Path(__file__).parent))
