"""`python -m lesionsplit` is `lesionsplit`; also what `torchrun -m` starts."""

from lesionsplit.cli import main

if __name__ == "__main__":
    main()
