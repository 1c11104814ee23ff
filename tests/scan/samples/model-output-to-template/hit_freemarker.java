package shop;

import dev.langchain4j.model.chat.ChatModel;
import freemarker.template.Configuration;
import freemarker.template.Template;
import java.io.StringReader;

public class Greeting {
    private final ChatModel model;

    public Greeting(ChatModel model) { this.model = model; }

    public Template greeting(String wish, Configuration settings) throws Exception {
        String text = model.chat(wish);
        return new Template("greeting", new StringReader(text), settings); // hit: model-output-to-template
    }
}
