import gradio as gr

demo = gr.ChatInterface(fn=reply)
demo.launch(server_name="0.0.0.0", auth=check_login)
