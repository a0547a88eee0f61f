QUICK = {
    "OnlinePlattCalibrator": [
        {},
        {"method": "beta", "calibeating": "tracking"},
        {"calibeating": "hedging"},
    ],
}
