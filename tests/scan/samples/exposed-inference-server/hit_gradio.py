import gradio as gr

demo = gr.ChatInterface(fn=reply)
demo.launch(share=True)  # hit: exposed-inference-server
