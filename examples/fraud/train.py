"""Nightly training of the fraud model."""

import mlflow
import mlflow.xgboost
import pandas as pd
from sklearn.model_selection import train_test_split
from xgboost import XGBClassifier

FEATURES = ["amount", "hour", "country_risk", "merchant_risk", "days_since_last", "device_age_days"]


def train() -> None:
    frame = pd.read_csv("s3://meridian-fraud-training/transactions.csv")
    x_train, x_test, y_train, y_test = train_test_split(frame[FEATURES], frame["fraud"], random_state=7)
    model = XGBClassifier(n_estimators=200, max_depth=5)
    model.fit(x_train, y_train)
    mlflow.set_tracking_uri("http://mlflow:5000")
    mlflow.xgboost.log_model(model, "fraud", registered_model_name="card-fraud")
    print(model.score(x_test, y_test))


if __name__ == "__main__":
    train()
