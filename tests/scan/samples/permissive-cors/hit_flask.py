from flask import Flask
from flask_cors import CORS
from openai import OpenAI

app = Flask(__name__)
CORS(app, resources={r"/api/*": {"origins": "*"}})  # hit: permissive-cors
client = OpenAI()
