"""REST under `/api/v1`: one file for each noun of the contract.

Open `accounts/tokens.py` first, which is short. A file declares bodies and answers (pydantic), and its `router` has the
routes, which call the features.
"""
