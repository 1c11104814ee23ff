import joblib
from flask import Flask, request

app = Flask(__name__)
model = joblib.load("risk.joblib")  # hit: unsafe-deserialization


@app.route("/risk", methods=["POST"])  # hit: unauthenticated-ai-endpoint, missing-rate-limit
def risk():
    return {"risk": float(model.predict_proba([request.json["row"]])[0][1])}
