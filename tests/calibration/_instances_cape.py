QUICK = {
    "CalibratedProbabilityClassifier": [
        {
            "hidden_layer_sizes": (8,),
            "learning_rate_init": 0.02,
            "max_iter": 60,
            "finetune_iter": 4,
        },
        {
            "hidden_layer_sizes": (),
            "learning_rate_init": 0.05,
            "max_iter": 60,
            "finetune_iter": 3,
            "target_source": "train",
            "method": "kernel",
            "final_platt": True,
            "sam_rho": 0.05,
            "spectral_decoupling": 0.01,
        },
    ],
}
