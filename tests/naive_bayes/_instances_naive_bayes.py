QUICK = {
    "TiedGaussianNB": [{}, {"shrinkage": "auto"}],
    "TwoRegimeClassifier": [
        {"cv": 3},
        {"cv": 3, "blend": "select"},
        {"cv": 3, "blend": "prior"},
    ],
}
