import yaml
from safetensors.torch import load_file
from tensorflow import keras

weights = load_file("model.safetensors")
model = keras.models.load_model("model.keras")
settings = yaml.safe_load(open("settings.yaml"))
more = yaml.load(open("settings.yaml"), Loader=yaml.SafeLoader)
