"""The demo's own knowledge base: an online bank's articles in English and Chinese, and questions to calibrate with."""
