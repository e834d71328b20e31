:if (true) do={ :put 1 } :elseif (false) do={ :put 2 }
