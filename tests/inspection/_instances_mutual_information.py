QUICK = {
    "MutualInformationEstimator": [
        {"n_permutations": 20, "random_state": 0},
        {"method": "ksg", "n_permutations": 0, "units": "bits"},
    ],
    "MutualInformationSelector": [
        {"n_permutations": 20, "random_state": 0},
        {"k": 1, "method": "binned", "redundancy": "mrmr"},
    ],
}
