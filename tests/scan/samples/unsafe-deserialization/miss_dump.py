import json
import pickle

pickle.dump({"a": 1}, open("out.pkl", "wb"))
data = json.load(open("data.json"))
