package shop

import dev.langchain4j.model.chat.ChatLanguageModel
import java.io.File

class Notes(private val model: ChatLanguageModel) {
    fun show(question: String): String {
        val name = model.generate(question)
        return File("docs/" + name).readText() // hit: model-output-to-path
    }
}
