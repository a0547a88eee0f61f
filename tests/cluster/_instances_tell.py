QUICK = {
    "TELLClustering": [
        {"n_clusters": 3, "n_init": 2},
        {"n_clusters": 3, "normalize": False, "loss": "expected", "max_iter": 20},
        {
            "n_clusters": 2,
            "hidden_layer_sizes": (8,),
            "latent_dim": 3,
            "pretrain_iter": 3,
            "max_iter": 4,
        },
    ],
}
