import pickle

import joblib

with open("model.pkl", "rb") as handle:
    model = pickle.load(handle)  # hit: unsafe-deserialization
scaler = joblib.load("scaler.joblib")  # hit: unsafe-deserialization
