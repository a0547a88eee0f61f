QUICK = {
    "RashomonClassifier": [{}, {"epsilon_type": "lr", "epsilon": 0.05}],
    "RashomonRegressor": [{}],
}
