console.log('nothing to say');
