"""Wordings that the pocket model's language part is trained on, beside those of the two modules of
questions. None of them is for judging; a test says so."""

from __future__ import annotations

from balancedit.models.pocket import grocery_questions

#: Ask for a word; `grocery_questions.SHORT` after its first is for judging.
SHORT = (
    grocery_questions.SHORT[0],
    grocery_questions.SHORT[0],
    *("Answer in one word.", "Reply with a word or two.", "One or two words, please."),
    *("Answer with one word.", "Keep the answer short.", "A short answer, please.", "Be brief."),
    *("Short answer only.", "Do not write a sentence.", "No full sentence, please."),
    *("Just one word.", "In one word.", "Only the answer.", "Give just a word or a short phrase."),
)
#: More wordings for training, beside those of the two modules of questions.
MORE: dict[str, tuple[str, ...]] = {
    "name": (
        *("What is in this photo?", "What is it?", "What do you see in the photo?"),
        *("what is this", "What do we see here?", "What is the name of this?", "Name this."),
        *("What object is in the photo?", "What does this photo show?", "Say what this is."),
        *("What have I photographed?", "Can you tell me what this is?", "Please identify this."),
    ),
    "group": (
        *("What general category is this?", "Is it an animal, a tool, or what is it?"),
        *("What broad kind of thing is this?", "In which category would you put it?"),
        *("What is the category of this thing?", "What sort of object is it?"),
    ),
    "product": (
        *("Which product is this?", "What is the product's name?", "What product is shown?"),
        *("What exactly is this product?", "Tell me which product this is.", "Name this product."),
        *("What does the label call it?", "Which item from the shop is this?"),
        *("How is this product called in the shop?", "Please identify the product."),
    ),
    "kind": (
        *("What kind of grocery is it?", "What type of food or drink is shown?"),
        *(
            "What sort of food is this?",
            "Which kind of item is this?",
            "What kind of product is it?",
        ),
        *("What would I write on my shopping list for this?", "Broadly, what is this grocery?"),
        *("Tell me the kind of grocery.", "In simple words, what sort of grocery is this?"),
        *("What type of product is in the photo?", "Name the sort of food or drink."),
    ),
    "food group": (
        *("What food group is this?", "Which food group is it in?", "Tell me its food group."),
        *("Under which group of foods does it fall?", "What group of foods is this from?"),
        *("To what food group does the item belong?", "Say which food group this is."),
        *("In which food group would you file it?", "What is the food group of this item?"),
    ),
    "colour": (
        *("What color is this?", "What colour does it have?", "Tell me its color."),
        *("What is its color?", "Which colour is the item?", "Describe its color."),
        *("What color does the thing in the photo have?", "Say what color it is."),
    ),
    "packaging": (
        *("What package is it in?", "What is the container?", "How is it packed?"),
        *("What does it come in?", "Which container is it in?", "Tell me the packaging."),
        *("What kind of container is this?", "In what package is it sold?"),
    ),
    "brand": (
        *("Which brand is it?", "What is the brand?", "Who makes this product?"),
        *("Tell me the brand.", "What brand name do you read?", "Whose product is this?"),
        *("Which company makes it?", "What brand is on the label?"),
    ),
    "background": ("What is the backdrop's color?", "Which colour do you see behind it?"),
    "count": ("How many do I have here?", "What number of them do you see?"),
    "yesno": (
        *("Is it {a}?", "Is that {a}?", "Is what is shown {a}?", "Can you say this is {a}?"),
        *("Does this image have {a} in it?", "Could this be {a}?", "Do I see {a} here?"),
        *("Tell me: is this {a}?", "Did I photograph {a}?", "Would people call it {a}?"),
    ),
}
#: Said before a question now and then.
POLITE = ("Please tell me: ", "Hi! ", "I wonder: ", "One question: ", "Look closely. ")
DESCRIBE = (
    *("Describe the picture.", "Describe this image in a sentence.", "What does it look like?"),
    *("Describe what you see.", "Give a short description.", "Write a caption for this picture."),
)
