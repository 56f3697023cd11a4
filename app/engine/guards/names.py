"""Names that are known without a capital letter, other names of the same things, and capitalised words that are no
names."""

from app.engine.guards.word_lists import groups, words

NAMES = words("""
    africa america asia europe australia afghanistan albania algeria argentina austria bangladesh
    belgium bolivia brazil bulgaria canada chile china colombia croatia cuba cyprus czechia
    denmark ecuador egypt england estonia ethiopia finland france germany ghana greece greenland
    hungary iceland india indonesia iran iraq ireland israel italy jamaica japan jordan kenya
    korea kuwait latvia lebanon lithuania luxembourg malaysia malta mexico moldova mongolia
    morocco nepal netherlands niger nigeria norway pakistan peru poland portugal qatar romania
    russia scotland serbia singapore slovakia slovenia spain sweden switzerland syria taiwan
    thailand tunisia turkey uganda ukraine uk usa vietnam wales amsterdam athens bangkok barcelona
    beijing berlin boston brussels budapest cairo chicago copenhagen delhi dubai dublin edinburgh
    frankfurt geneva hamburg helsinki istanbul jakarta lisbon london madrid manchester melbourne
    miami milan moscow mumbai munich naples nyc oslo paris prague rome seattle seoul shanghai
    stockholm sydney tokyo toronto vienna warsaw zurich california florida texas arabic chinese
    czech danish dutch english finnish french german greek hebrew hindi hungarian italian japanese
    korean latin norwegian polish portuguese russian spanish swedish turkish amazon apple facebook
    google instagram linkedin microsoft netflix paypal reddit samsung skype slack spotify stripe
    telegram tiktok twitter uber visa mastercard whatsapp youtube zoom discord dropbox onedrive
    notion evernote trello jira github gitlab bitbucket aws azure android ios iphone ipad mac
    macos windows linux ubuntu debian fedora chrome firefox safari outlook gmail excel photoshop
    python javascript typescript kotlin golang php mysql postgres postgresql sqlite mongodb redis
    kafka docker kubernetes podman terraform ansible nginx apache django flask rails laravel
    wordpress shopify magento tesla toyota bmw ford honda nissan klarna ikea aldi lidl ebay
    ryanair aspirin ibuprofen paracetamol tylenol advil amoxicillin penicillin metformin diazepam
    naproxen melatonin
""")

ALIASES = groups("""
    usa us america american americans states
    uk britain british
    europe european
    asia asian
    africa african
    russia russian russians
    india indian indians
    turkey turkish
    poland polish
    greece greek
    ireland irish
    scotland scottish
    canada canadian
    mexico mexican
    brazil brazilian
    portugal portuguese
    sweden swedish
    norway norwegian
    denmark danish
    switzerland swiss
    australia australian
    islam islamic muslim muslims
    rome roman romans
    jew jewish jews
    microsoft ms
    javascript js
    typescript ts
    kubernetes k
    czechia czech
    netherlands holland dutch
    saint st
    wwii ww2 war
    mount mt
    postgres postgresql psql
    macos mac osx
    iphone ios
    new york nyc
    england english british
    france french
    germany german
    spain spanish
    italy italian
    japan japanese
    china chinese
    olympics olympic
    twitter x
    facebook fb
    golang go
""")

# Words that are written with a capital letter and name no such thing; moments have a guard of their own.
NO_NAMES = words("""
    rs inr usd eur gbp chf i ok pc tv pdf csv json xml html css sql api url id pin faq diy ceo gps
    usb ram cpu gpu vpn dns ip http https ssh ui monday tuesday wednesday thursday friday saturday
    sunday mondays tuesdays wednesdays thursdays fridays saturdays sundays january february march
    april may june july august september october november december mr mrs ms dr am pm ad bc
    christmas easter vat atm sms wifi wi fi
""")
