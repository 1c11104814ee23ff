import yaml
from tensorflow import keras

model = keras.models.load_model("model.keras", safe_mode=False)  # hit: unsafe-deserialization
settings = yaml.load(open("settings.yaml"), Loader=yaml.Loader)  # hit: unsafe-deserialization
