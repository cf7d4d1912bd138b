"""Fintech conversations that are not about a figure: what people want to do, and the steps that do it."""

TASKS: dict[str, tuple[str, ...]] = {
    "freeze my card": (
        "Open the app and choose Cards.",
        "Tap the card and slide the switch to Frozen.",
        "All new payments stop within a few seconds.",
        "Slide it back whenever the card turns up.",
    ),
    "change my pin": (
        "Go to any of our cash machines with your card.",
        "Pick Services and then New code.",
        "Type the old code once and the new one twice.",
        "Choose four digits that nobody near you would guess.",
    ),
    "report a stolen card": (
        "Lock the card in the app before anything else.",
        "Choose Report and mark it as stolen.",
        "We print a fresh card the same afternoon.",
        "Look through the last payments and flag the odd ones.",
    ),
    "send money abroad": (
        "Select Transfers and then Other countries.",
        "Enter the name and the account of the receiver.",
        "We show the rate before you agree.",
        "Most transfers land by the next working morning.",
    ),
    "set up a standing order": (
        "Pick a payee that you have paid before.",
        "Switch Repeat on and set the day of the month.",
        "The order starts on the next such day.",
        "It can be paused for holidays with one tap.",
    ),
    "close my account": (
        "Move the rest of your balance elsewhere first.",
        "Cancel all direct debits that still run.",
        "Then write to us with the word closing in the subject.",
        "We confirm the end in a letter.",
    ),
    "add a second owner": (
        "Both of you need the app on your phones.",
        "Invite the other person from the Sharing page.",
        "They show their passport to the camera.",
        "After our check you both see every payment.",
    ),
    "dispute a payment": (
        "Tap the payment that looks wrong.",
        "Choose Not mine and tell us what happened.",
        "The shop then has two weeks to answer.",
        "You see each step of the case in your inbox.",
    ),
    "raise my spending limit": (
        "Find Limits on the page of your card.",
        "Drag the bar to the sum that you need.",
        "Confirm it with your fingerprint.",
        "The old limit returns at midnight unless you fix it.",
    ),
    "get a bank statement": (
        "Documents holds a statement for each month.",
        "Press the arrow to save it as a file.",
        "Landlords and tax offices accept this file.",
        "Older years are in the Archive folder.",
    ),
    "verify my identity": (
        "Have your passport or licence at hand.",
        "Hold it flat under a bright lamp.",
        "Follow the dot on the screen with your eyes.",
        "A colleague checks the pictures within the hour.",
    ),
    "save for a holiday": (
        "Make a new pot and give it a name.",
        "Round up every purchase into that pot.",
        "Add a small sum each payday too.",
        "A bar shows how close the beach has come.",
    ),
    "switch to your bank": (
        "Tell us the name of your present bank.",
        "We fetch the list of your regular payments.",
        "Nothing is interrupted while they move across.",
        "Your salary follows after the next payday.",
    ),
    "pay an invoice by photo": (
        "Hold the camera over the printed bill.",
        "The app reads the sum and the reference.",
        "Compare both with the paper.",
        "One swipe sends it on the due date.",
    ),
    "apply for a loan": (
        "Start with the sum and the number of months.",
        "We ask about your income and your rent.",
        "The answer appears on the screen at once.",
        "You have time to change your mind afterwards.",
    ),
    "repay a loan early": (
        "Choose your loan and press Pay more.",
        "You may pay a part or all that is left.",
        "The plan is worked out again straight away.",
        "Less interest is due from that day on.",
    ),
    "update my address": (
        "Profile has a line for where you live.",
        "Type the new street and the town.",
        "Take a picture of a recent energy bill.",
        "Cards and letters go there from then on.",
    ),
    "connect my accounting software": (
        "The owner opens Links in the business menu.",
        "Pick the program that your bookkeeper likes.",
        "Allow it to read but never to pay.",
        "Entries flow over each night.",
    ),
    "take card payments in my shop": (
        "Plug the terminal in and let it load.",
        "Type the price and turn the screen to the buyer.",
        "A green light means that all went well.",
        "The money reaches you with the next payout.",
    ),
    "invest a small sum": (
        "Answer six questions about your plans.",
        "We suggest a mix that fits your nerves.",
        "Values can fall as well as rise.",
        "Keep some cash aside for bad weeks.",
    ),
    "spot a false message": (
        "We never ask for a code by phone.",
        "Look closely at who has sent it.",
        "Do not press any button in it.",
        "Forward it to our safety desk and delete it.",
    ),
    "use my card abroad": (
        "Turn on Travel for the countries on your way.",
        "Always pay in the local money.",
        "Carry a second card in another bag.",
        "Machines inside a bank are the safest ones.",
    ),
    "give my child pocket money": (
        "Order a card in the name of your child.",
        "Set a weekly sum and a day for it.",
        "You both get a note after each purchase.",
        "Some kinds of shop stay shut for young cards.",
    ),
    "stop a direct debit": (
        "Look under Payments for the name of the firm.",
        "Swipe left and press Stop.",
        "Tell the firm as well, so that it does not ask again.",
        "Sums taken by mistake come back to you.",
    ),
}
"""What a customer wants to do, and steps in the order in which they are done."""

QUESTIONS: tuple[str, ...] = (
    "How do I {}?",
    "How can I {}?",
    "I would like to {}. Where do I start?",
    "What are the steps to {}?",
    "Please explain how to {}.",
    "Is it possible to {} from my phone?",
    "I am trying to {} for the first time.",
    "What is the best way to {}?",
    "Can you walk me through how to {}?",
    "My mother wants me to {}. What now?",
    "Show me how to {}, step by step.",
    "Who helps me when I have to {}?",
)

OPENINGS: tuple[str, ...] = (
    "That is done in a minute.",
    "Here is how it works.",
    "You can do that yourself.",
    "Good question, and the way is short.",
    "Take these steps.",
    "Of course.",
    "Gladly, one step after the other.",
    "This is what to do.",
    "It takes only a few taps.",
    "Let us go through it together.",
)

ENDINGS: tuple[str, ...] = (
    "Write to me again if a screen looks different.",
    "That is all there is to it.",
    "Our chat is open day and night for anything else.",
    "Tell me how far you came.",
    "A short film in the Help section shows it too.",
    "You will get a message once it is done.",
    "Keep your phone charged while you do this.",
    "The branch can do the same for you.",
    "It costs you nothing.",
    "Then you are finished.",
)
