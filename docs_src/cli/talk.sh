letta agents create Sam --model letta/scripted
echo "My name is Alice." | letta chat Sam --local
echo "What is my name?" | letta chat Sam --local
letta agents show Sam
